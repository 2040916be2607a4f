"""A loss that is never a number: a plugin file, for tests."""

from __future__ import annotations

import torch


def broken(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Not-a-number for every picture, ``(n,)``."""
    return (prediction - target).square().mean(dim=(1, 2, 3)) * torch.nan
