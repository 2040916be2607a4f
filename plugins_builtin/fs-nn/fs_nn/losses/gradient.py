"""A loss of edges: first and second derivatives of a picture."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fs_nn.losses.pixel import general

_SHAPE = 1.9999


def pixel_gradient_diff(prediction: Tensor, target: Tensor) -> Tensor:
    """Return differences of first and second derivatives, a map ``(n, c, h, w)``.

    Half the sum of `general` (shape 1.9999, nearly the square) over the derivatives along x and y,
    the second ones along x and y, and twice the mixed one. Beyond the border the picture continues
    with its border pixels. Derivatives are taken of height and width of each channel.
    """
    padded = F.pad(prediction - target, (1, 1, 1, 1), mode="replicate")
    center = padded[..., 1:-1, 1:-1]
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    falling = padded[..., :-2, :-2] + padded[..., 2:, 2:]
    rising = padded[..., :-2, 2:] + padded[..., 2:, :-2]
    pure = (
        (right - left) / 2,
        (below - above) / 2,
        right + left - 2 * center,
        below + above - 2 * center,
    )
    total = 2 * general((falling - rising) / 4, _SHAPE)
    for derivative in pure:
        total = total + general(derivative, _SHAPE)
    return total / 2
