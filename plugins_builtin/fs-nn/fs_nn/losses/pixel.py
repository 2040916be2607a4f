"""Losses that compare pixel with pixel."""

from __future__ import annotations

from torch import Tensor

_SCALE = 1 / 255


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the absolute difference, a map ``(n, c, h, w)``."""
    return (prediction - target).abs()


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the squared difference, a map ``(n, c, h, w)``."""
    return (prediction - target).square()


def logcosh(prediction: Tensor, target: Tensor) -> Tensor:
    """Return ``ln cosh`` of the difference, a map ``(n, c, h, w)``.

    Written as ``ln(1 + 2 sinh^2(d / 2))``, which keeps its digits for small differences.
    """
    return ((prediction - target) / 2).sinh().square().mul(2).log1p()


def smooth_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return Barron's general loss with shape 1 and scale 1/255, a map ``(n, c, h, w)``.

    Quadratic for differences below one gray level of 8 bits, absolute beyond.
    """
    return general(prediction - target, 1.0)


def l_inf_norm(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the largest absolute difference of a channel, averaged over channels, ``(n,)``."""
    return (prediction - target).abs().amax(dim=(2, 3)).mean(dim=1)


def general(difference: Tensor, shape: float) -> Tensor:
    """Return the general loss of Barron 2019, arXiv:1701.03077, scale 1/255, times the scale.

    Args:
        difference: any tensor.
        shape: the paper's alpha, neither 0 nor 2.
    """
    bend = abs(2 - shape)
    grown = (difference / _SCALE).square() / bend + 1
    return (bend / shape) * (grown ** (shape / 2) - 1) * _SCALE
