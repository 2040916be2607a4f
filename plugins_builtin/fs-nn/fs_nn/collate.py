"""How losses of single pictures become the loss of a side.

Per face output of a side and per loss function:

* A *spatial* loss gives a map ``L``. With the penalised mask, ``L`` is multiplied by the face mask;
  then for each multiplied area in turn (eyes, mouth) ``L`` becomes ``L + k * area * L``. The mean
  over channels and pixels of the whole picture is taken, so a face that fills half of it counts
  half; with ``normalize`` each picture's mean is divided by the share that its face mask covers.
* A *non-spatial* loss, or one whose map has no pixels of the picture (``masks_input``), sees masked
  pictures instead: its value inside the face mask, plus ``k`` times its value inside each area.
  It is never normalised: most such losses do not grow with the area.

So a multiplier ``k`` makes an area count ``k + 1`` times. That is what the number means in the
system people bring their settings from, and the same settings should train the same; it also makes
1, the smallest value, stand for "off" (`fs_nn.options.LossOptions.multipliers` leaves it out).

A mask that the batch does not hold is not applied. A learnt mask is compared without masks and with
weight 1. Outputs of several sizes count the same.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs
import torch
from fs_kernel.errors import FsError, PluginError
from fs_kernel.types import Batch, BatchLoss, ColorOrder, LossPart, Network, Run, Side
from torch import Tensor, nn

from fs_nn.options import LossOptions

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@attrs.frozen
class Term:
    """One loss function with its share.

    Attributes:
        name: what it is called in reports.
        function: see `fs_nn.losses`.
        weight: factor in the total.
        masks_input: mask the pictures before, not the map after.
        flip_colors: reverse the channels before.
    """

    name: str
    function: Loss
    weight: float
    masks_input: bool
    flip_colors: bool


class LossCollator:
    """The loss of each side of a network.

    Args:
        network: whose outputs are compared.
        terms: the losses of faces; one may appear twice.
        mask_loss: name and function of the loss of learnt masks.
        penalized: apply the face mask.
        multipliers: by mask name, how much more an area counts.
        normalize: divide maps by the share of the picture that the face mask covers.
    """

    def __init__(
        self,
        network: Network,
        terms: Sequence[Term],
        mask_loss: tuple[str, Loss],
        *,
        penalized: bool,
        multipliers: Mapping[str, int],
        normalize: bool,
    ) -> None:
        self._network = network
        self._terms = tuple(terms)
        self._mask_name, self._mask_loss = mask_loss
        self._penalized = penalized
        self._multipliers = dict(multipliers)
        self._normalize = normalize

    def on(self, device: torch.device) -> LossCollator:
        """The same, with copies on ``device`` of those losses that hold tensors."""

        def copied(loss: Loss) -> Loss:
            return copy.deepcopy(loss).to(device) if isinstance(loss, nn.Module) else loss

        return LossCollator(
            self._network,
            [attrs.evolve(term, function=copied(term.function)) for term in self._terms],
            (self._mask_name, copied(self._mask_loss)),
            penalized=self._penalized,
            multipliers=self._multipliers,
            normalize=self._normalize,
        )

    def __call__(
        self, side: Side, predictions: Sequence[Tensor], batch: Batch
    ) -> tuple[Tensor, BatchLoss]:
        """Compare one side's outputs with their targets.

        Args:
            side: which side.
            predictions: all outputs of the network, ``(n, size, size, c)``.
            batch: targets and masks.

        Returns:
            The side's total, a scalar with its graph, and the same in detail, detached.
        """
        totals, report = self.of_pictures(side, predictions, batch)
        return totals.mean(), report

    def of_pictures(
        self, side: Side, predictions: Sequence[Tensor], batch: Batch
    ) -> tuple[Tensor, BatchLoss]:
        """As a call, but with a total per picture: ``(n,)`` with its graph, whose mean counts."""
        masks = batch.meta.masks.get(side, {})
        values: list[tuple[str, str, float, Tensor]] = []
        outputs = self._network.outputs_of(side)
        for (index, output), target in zip(outputs, batch.targets[side], strict=True):
            if output.kind == "aux" or target is None:
                continue
            pair = _channels_first(predictions[index]), _channels_first(target)
            if output.kind == "mask":
                each = _per_picture(self._mask_loss(*pair))
                values.append((self._mask_name, f"mask_{output.size}", 1.0, each))
            else:
                of_face = self._of_face(*pair, _of_size(masks, output.size))
                values += [
                    (term.name, f"face_{output.size}", term.weight, each) for term, each in of_face
                ]
        totals = torch.stack([each * weight for _, _, weight, each in values]).sum(dim=0)
        parts = []
        for name, where, weight, each in values:
            mean = each.detach().mean()
            parts.append(LossPart(name, where, mean * weight, mean))
        return totals, BatchLoss(side, totals.detach().mean(), tuple(parts))

    def _of_face(
        self, prediction: Tensor, target: Tensor, masks: Mapping[str, Tensor]
    ) -> Iterator[tuple[Term, Tensor]]:
        """Each loss of one output, per picture ``(n,)``, without its weight."""
        areas = [(masks[name], k) for name, k in self._multipliers.items() if name in masks]
        face = masks.get("face") if self._penalized else None
        for term in self._terms:
            pair = (prediction, target)
            if term.flip_colors:
                pair = (prediction.flip(1), target.flip(1))
            if term.masks_input:
                yield term, _on_masked_pictures(term.function, *pair, face, areas)
            else:
                yield term, _on_masked_map(term.function, *pair, face, areas, self._normalize)


def build_collator(run: Run, options: LossOptions) -> LossCollator:
    """The collator that the options ask for, each loss tried once.

    Raises:
        ConfigError: a loss cannot handle pictures of the network's smallest face output, or lacks
            what its options should name.
        PluginError: a loss is not installed, fails, or gives neither a map nor one number per
            picture.
    """
    network = run.network
    size = min(output.size for output in network.outputs if output.kind == "face")
    terms = [
        _term(name, _instance(run, name, options), weight, size, network.color_order, run.device)
        for name, weight in options.functions
    ]
    mask_name = options.mask_loss_function
    return LossCollator(
        network,
        terms,
        (_label(mask_name), _instance(run, mask_name, options)),
        penalized=options.penalized_mask_loss,
        multipliers=options.multipliers,
        normalize=options.normalize_masks,
    )


def _instance(run: Run, name: str, options: LossOptions) -> Loss:
    found = run.find("losses", name)
    with _blaming(name):
        if hasattr(found, "from_options"):
            loss = found.from_options(options)
        else:
            loss = found() if isinstance(found, type) else found
        return loss.to(run.device) if isinstance(loss, nn.Module) else loss


@contextlib.contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Blame a loss, not its trainer, for what it raises."""
    try:
        yield
    except (FsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise PluginError(f"loss '{name}' failed: {line}", name) from error


def _term(
    name: str,
    loss: Loss,
    weight: float,
    size: int,
    color_order: ColorOrder,
    device: torch.device,
) -> Term:
    values = torch.linspace(0.1, 0.9, 6 * size * size, device=device).reshape(2, 3, size, size)
    with torch.no_grad(), _blaming(name):
        shape = tuple(loss(values, values.flip(3)).shape)
    spatial = shape in ((2, 3, size, size), (2, 1, size, size))
    masks_input = getattr(loss, "masks_input", False)
    if not spatial and shape != (2,) and not (masks_input and shape[:1] == (2,)):
        raise PluginError(
            f"loss '{name}' gave a result of shape {shape} for two pictures of {size} pixels; "
            "it must give a map of that size or one number per picture",
            name,
        )
    wanted = getattr(loss, "color_order", color_order)
    return Term(_label(name), loss, weight, masks_input or not spatial, wanted != color_order)


def _label(name: str) -> str:
    """What a loss is called in reports: of one in a file, without the file's folder."""
    return name.replace("\\", "/").rpartition("/")[2]


def _on_masked_map(
    loss: Loss,
    prediction: Tensor,
    target: Tensor,
    face: Tensor | None,
    areas: Sequence[tuple[Tensor, int]],
    normalize: bool,
) -> Tensor:
    values = loss(prediction, target)
    if face is not None:
        values = values * face
    for area, factor in areas:
        values = values + values * area * factor
    if face is None or not normalize:
        return _per_picture(values)
    return _per_picture(values) / _per_picture(face).clamp(min=1 / face[0].numel())


def _on_masked_pictures(
    loss: Loss,
    prediction: Tensor,
    target: Tensor,
    face: Tensor | None,
    areas: Sequence[tuple[Tensor, int]],
) -> Tensor:
    whole = (prediction, target) if face is None else (prediction * face, target * face)
    value = _per_picture(loss(*whole))
    for area, factor in areas:
        value = value + _per_picture(loss(prediction * area, target * area)) * factor
    return value


def _per_picture(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1) if values.ndim > 1 else values


def _channels_first(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 3, 1, 2)


def _of_size(masks: Mapping[str, Mapping[int, Tensor]], size: int) -> dict[str, Tensor]:
    return {name: _channels_first(sizes[size]) for name, sizes in masks.items() if size in sizes}
