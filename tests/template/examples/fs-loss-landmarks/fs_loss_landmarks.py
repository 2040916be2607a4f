"""A loss that counts differences near landmarks more than others."""

from __future__ import annotations

import torch
from fs_kernel.types import LossContext
from torch import Tensor

#: The first of 68 landmarks that does not belong to the jaw, where face ends and background begins.
INNER = 17
#: Distance at which the additional weight has fallen to 1/e, as a share of the picture's edge.
REACH = 0.05


class Landmarks:
    """Absolute difference, up to twice as much near a landmark."""

    required_fields = frozenset({"landmarks"})

    def __call__(self, prediction: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Return the weighted difference, ``(n, c, h, w)``.

        Args:
            prediction: ``(n, c, h, w)``, 0..1.
            target: of the same shape.
            context: holds the landmarks; without any all pixels count alike.
        """
        difference = (prediction - target).abs()
        if context.landmarks is None:
            return difference
        height, width = difference.shape[2:]
        points = context.landmarks[:, INNER:].to(difference)
        # Squared distances of columns and rows apart: their sum is formed for the nearest only.
        x = (_centers(width, difference) - points[:, :, :1]) ** 2
        y = (_centers(height, difference) - points[:, :, 1:]) ** 2
        nearest = (y[:, :, :, None] + x[:, :, None, :]).amin(dim=1, keepdim=True)
        return difference * (1 + torch.exp(-nearest.sqrt() / REACH))


def _centers(count: int, like: Tensor) -> Tensor:
    """Return the centers of pixels in shares of the edge, ``(count,)``."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count
