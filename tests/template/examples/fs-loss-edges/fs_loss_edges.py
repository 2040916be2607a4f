"""A loss of edges: how differently two pictures change from pixel to pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad


def edges(prediction: Tensor, target: Tensor) -> Tensor:
    """Absolute difference of the slopes to the right and down.

    Args:
        prediction: ``(n, c, h, w)``, 0..1.
        target: of the same shape.

    Returns:
        A map ``(n, c, h, w)``; 0 beyond the last row and column.
    """
    difference = prediction - target
    right = (difference[..., 1:] - difference[..., :-1]).abs()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs()
    return pad(right, (0, 1)) + pad(down, (0, 0, 0, 1))
