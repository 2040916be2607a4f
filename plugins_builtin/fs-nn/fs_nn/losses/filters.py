"""What several losses share: Gaussian windows, separable filters, and powers without poles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian(radius: int, sigma: float) -> Tensor:
    """Return a Gaussian at ``-radius..radius`` pixels, ``(2 * radius + 1,)`` float64, of sum 1."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    window = torch.exp(-offsets.square() / (2 * sigma**2))
    return window / window.sum()


def separable(pictures: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Filter every channel of every picture, where the filter lies inside it.

    Args:
        pictures: ``(n, c, h, w)``.
        vertical: ``(k,)`` for all channels, or ``(c, k)``; k is odd.
        horizontal: the same.

    Returns:
        ``(n, c, h - k + 1, w - k + 1)``.
    """
    # All planes as channels of one picture: several times quicker than as a batch of planes.
    n, c, *size = pictures.shape
    flat = pictures.reshape(1, n * c, *size)
    down = _per_plane(vertical, n, c)[:, None, :, None]
    across = _per_plane(horizontal, n, c)[:, None, None, :]
    flat = F.conv2d(F.conv2d(flat, down, groups=n * c), across, groups=n * c)
    return flat.reshape(n, c, *flat.shape[-2:])


def _per_plane(kernel: Tensor, pictures: int, channels: int) -> Tensor:
    each = kernel.expand(channels, -1)
    return each.repeat(pictures, 1)


def power(base: Tensor, exponent: float | Tensor, floor: float) -> Tensor:
    """Return ``base ** exponent`` for bases >= 0 and exponents 0..1, with a bounded slope.

    The value is exact; up to ``floor`` the base gets no gradient, since the slope at 0 is infinite.
    """
    steep = base.detach().clamp(min=0) ** exponent
    return torch.where(base > floor, base.clamp(min=floor) ** exponent, steep)


def mean_pool(pictures: Tensor) -> Tensor:
    """Halve pictures by the mean of 2 x 2 pixels; odd edges are doubled before."""
    height, width = pictures.shape[-2:]
    if height % 2 or width % 2:
        pictures = F.pad(pictures, (0, width % 2, 0, height % 2), mode="replicate")
    return F.avg_pool2d(pictures, 2)


def resize(maps: Tensor, like: Tensor) -> Tensor:
    """Bring maps to the height and width of another tensor, bilinear."""
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
