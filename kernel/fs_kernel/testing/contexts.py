"""What a loss is given beside two pictures, made of numbers."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from fs_kernel.testing.arrays import array_landmarks, array_mask
from fs_kernel.types import Batch, BatchMeta, LossContext, Output

if TYPE_CHECKING:
    import torch


def takes_context(loss: Any) -> bool:
    """Return whether a loss has a parameter called ``context``."""
    import torch

    called = loss.forward if isinstance(loss, torch.nn.Module) else loss
    try:
        return "context" in inspect.signature(called).parameters
    except ValueError:  # Some functions in C have no signature.
        return False


def array_context(
    prediction: torch.Tensor, target: torch.Tensor, fields: Collection[str]
) -> LossContext:
    """Return the context of two stacks of pictures ``(n, c, h, w)``.

    Args:
        prediction: of side "a".
        target: of the same shape.
        fields: names of the masks that the batch holds, and "landmarks".
    """
    import torch

    count, _, size, _ = prediction.shape
    side, output = "a", Output("a", "face", size)
    names = sorted(set(fields) - {"landmarks"})
    stacks = {name: np.stack([array_mask(name, size)] * count) for name in names}
    masks = {name: torch.from_numpy(x).to(prediction.device) for name, x in stacks.items()}
    points = None
    if "landmarks" in fields:
        points = torch.from_numpy(array_landmarks(count)).to(prediction.device)
    meta = BatchMeta(
        {side: np.arange(count)},
        {side: {name: {size: mask} for name, mask in masks.items()}},
        {} if points is None else {side: points},
    )
    faces = target.movedim(1, -1)
    batch = Batch(1, {side: faces}, {side: [faces]}, meta)
    first = {name: mask.movedim(-1, 1) for name, mask in masks.items()}
    return LossContext(side, output, 1, first, points, batch)
