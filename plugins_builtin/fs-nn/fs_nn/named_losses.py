"""Find losses by name, and try each once before the first step."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from fs_kernel.errors import FsError, PluginError
from fs_kernel.types import Batch, BatchMeta, LossContext, Network, Output, Run
from torch import Tensor, nn

Loss: TypeAlias = Callable[..., Tensor]

#: Pictures in the batch that a loss is tried on.
_PICTURES = 2


@attrs.frozen
class WeightedLoss:
    """A loss function with its share in the total.

    Attributes:
        name: what it is called in reports.
        function: see `fs_kernel.types.LossFunction`.
        weight: factor in the total.
        masks_input: apply masks to the pictures before, not to the map after.
        flip_colors: reverse the channels before.
        takes_context: whether it has a parameter ``context``.
    """

    name: str
    function: Loss
    weight: float = 1.0
    masks_input: bool = False
    flip_colors: bool = False
    takes_context: bool = False

    def __call__(self, prediction: Tensor, target: Tensor, context: LossContext | None) -> Tensor:
        """Return the map ``(n, c, h, w)`` or the numbers ``(n,)`` of pictures ``(n, c, h, w)``."""
        if self.takes_context:
            return self.function(prediction, target, context=context)
        return self.function(prediction, target)


def find_loss(run: Run, name: str) -> WeightedLoss:
    """Return a loss on the run's device, with weight 1, untried.

    Raises:
        ConfigError: it lacks what its options should name.
        PluginError: it is not installed, or fails.
    """
    return _created(run, name, run.find("losses", name))


def find_face_loss(run: Run, name: str, weight: float) -> WeightedLoss:
    """Return a loss of faces, tried on pictures of the network's smallest face output.

    Raises:
        ConfigError: it cannot handle pictures of that size, or lacks what its options should name.
        PluginError: it is not installed, fails, or gives neither a map nor a number per picture.
    """
    role, network = run.find("losses", name), run.network
    found = _created(run, name, role)
    output = min((o for o in network.outputs if o.kind == "face"), key=lambda o: o.size)
    size = output.size
    steps = torch.linspace(0.1, 0.9, _PICTURES * 3 * size * size, device=run.device)
    pictures = steps.reshape(_PICTURES, 3, size, size)
    context = None
    if found.takes_context:
        context = _trial_context(network, output, pictures, role.required_fields())
    with torch.no_grad(), blaming(name):
        shape = tuple(found(pictures, pictures.flip(3), context).shape)
    spatial = shape in ((_PICTURES, 3, size, size), (_PICTURES, 1, size, size))
    masks_input = getattr(found.function, "masks_input", False)
    of_pictures = shape == (_PICTURES,) or (masks_input and shape[:1] == (_PICTURES,))
    if not (spatial or of_pictures):
        raise PluginError(
            f"loss '{name}' gave a result of shape {shape} for two pictures of {size} pixels; "
            "it must give a map of that size or one number per picture",
            name,
        )
    order = getattr(found.function, "color_order", network.color_order)
    return attrs.evolve(
        found,
        weight=weight,
        masks_input=masks_input or not spatial,
        flip_colors=order != network.color_order,
    )


def label(name: str) -> str:
    """Return what a plugin is called in reports: of one in a file, without the file's folder."""
    return name.replace("\\", "/").rpartition("/")[2]


@contextlib.contextmanager
def blaming(name: str) -> Iterator[None]:
    """Blame a loss, not its trainer, for what it raises."""
    try:
        yield
    except (FsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise PluginError(f"loss '{name}' failed: {line}", name) from error


def _created(run: Run, name: str, role: Any) -> WeightedLoss:
    function = role.create()
    with blaming(name):
        if isinstance(function, nn.Module):
            function = function.to(run.device)
        return WeightedLoss(label(name), function, takes_context=_takes_context(function))


def _takes_context(function: Any) -> bool:
    # A module's __call__ takes anything; what it passes on is in the signature of `forward`.
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        return "context" in inspect.signature(called).parameters
    except ValueError:
        return False  # Some functions in C have no signature.


def _trial_context(
    network: Network, output: Output, pictures: Tensor, fields: frozenset[str]
) -> LossContext:
    """Return a context of white masks, landmarks in the middle, and a batch that holds them."""
    side, size = output.side, output.size
    masks = {name: pictures.new_ones(_PICTURES, 1, size, size) for name in fields - {"landmarks"}}
    landmarks = pictures.new_full((_PICTURES, 68, 2), 0.5) if "landmarks" in fields else None
    shapes = dict(zip(network.sides, (i.shape[1:] for i in network.model.inputs), strict=True))
    outputs = [o for _, o in network.outputs_of(side)]
    last = {name: {size: mask.movedim(1, -1)} for name, mask in masks.items()}
    batch = Batch(
        0,
        {side: torch.zeros(_PICTURES, *shapes[side], device=pictures.device)},
        {side: [pictures.movedim(1, -1) if o == output else None for o in outputs]},
        BatchMeta(
            {side: np.arange(_PICTURES)},
            {side: last},
            {} if landmarks is None else {side: landmarks},
        ),
    )
    return LossContext(side, output, 0, masks, landmarks, batch)
