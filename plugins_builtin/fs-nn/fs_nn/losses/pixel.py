"""Losses that compare pixel with pixel."""

from __future__ import annotations

from torch import Tensor


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Absolute difference, a map ``(n, c, h, w)``."""
    return (prediction - target).abs()


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared difference, a map ``(n, c, h, w)``."""
    return (prediction - target).square()
