"""Pictures and plain NumPy computations that tests of losses share."""

from __future__ import annotations

import numpy as np
import torch


def noise(seed: int, shape: tuple[int, ...] = (2, 3, 64, 64)) -> torch.Tensor:
    """Uniform noise, 0..1."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def waves(size: int, phase: float) -> torch.Tensor:
    """A picture in closed form, ``(1, 3, size, size)``, 0..1."""
    y, x = np.mgrid[:size, :size] / size
    planes = [
        0.5
        + 0.45
        * np.sin(phase + (7 + 3 * c) * x * (1 + y) + 5 * c * y)
        * np.cos(3 * phase + 9 * y - c)
        for c in range(3)
    ]
    return torch.from_numpy(np.stack(planes).astype(np.float32))[None]


def correlate(pictures: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Every plane of ``(n, c, h, w)`` with a two-dimensional kernel, where it lies inside."""
    height, width = (pictures.shape[2 + axis] - kernel.shape[axis] + 1 for axis in (0, 1))
    return sum(
        value * pictures[..., i : i + height, j : j + width]
        for (i, j), value in np.ndenumerate(kernel)
    )


def padded(pictures: np.ndarray, width: int, mode: str) -> np.ndarray:
    return np.pad(pictures, ((0, 0), (0, 0), (width, width), (width, width)), mode=mode)


def gaussian(radius: int, sigma: float) -> np.ndarray:
    offsets = np.arange(-radius, radius + 1)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
    return window / window.sum()


def halved(pictures: np.ndarray) -> np.ndarray:
    n, c, h, w = pictures.shape
    return pictures.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))


def enlarged(maps: np.ndarray, size: int) -> np.ndarray:
    """Square maps to ``size``, bilinear between the centres of pixels."""
    small = maps.shape[-1]
    centres = np.clip((np.arange(size) + 0.5) * small / size - 0.5, 0, small - 1)
    below = np.minimum(centres.astype(int), small - 1)
    above = np.minimum(below + 1, small - 1)
    matrix = np.zeros((size, small))
    matrix[np.arange(size), below] += 1 - (centres - below)
    matrix[np.arange(size), above] += centres - below
    return np.einsum("yi,ncij,xj->ncyx", matrix, maps, matrix)
