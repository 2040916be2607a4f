"""Pictures made of numbers, for tests that need faces but no files of any."""

from __future__ import annotations

import numpy as np

from fs_kernel.randomness import generator


def array_face(seed: int, side: str, index: int, size: int) -> np.ndarray:
    """Return a picture with a color at each corner and a smooth change between them.

    Args:
        seed: key of the colors.
        side: whose face it is.
        index: which one.
        size: edge in pixels.

    Returns:
        ``(size, size, 3)`` float32, 0..1.
    """
    corners = generator(seed, side, index).random((2, 2, 3))
    t = np.linspace(0, 1, size)
    rows = corners[0] * (1 - t)[:, None, None] + corners[1] * t[:, None, None]
    picture = rows[:, :1] * (1 - t)[:, None] + rows[:, 1:] * t[:, None]
    return np.asarray(picture, np.float32)


def array_faces(count: int, size: int, *, side: str = "a", seed: int = 0) -> np.ndarray:
    """Return the first faces of a side, ``(count, size, size, 3)`` float32, 0..1."""
    return np.stack([array_face(seed, side, index, size) for index in range(count)])


def array_mask(name: str, size: int) -> np.ndarray:
    """Return the mask of every array face: a bar each for "eye" and "mouth", else a disc.

    Returns:
        ``(size, size, 1)`` float32, 0 or 1.
    """
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    bars = {"eye": np.abs(y + 0.4) <= 0.2, "mouth": np.abs(y - 0.4) <= 0.2}
    inside = bars.get(name, x**2 + y**2 <= 1)
    return inside[..., None].astype(np.float32)


def array_landmarks(count: int) -> np.ndarray:
    """Return the landmarks of array faces: a spiral, the same for each.

    Returns:
        ``(count, 68, 2)`` float32, x and y as shares of the picture's edge.
    """
    t = np.linspace(0, 1, 68)
    angle, radius = 4 * np.pi * t, 0.05 + 0.4 * t
    spiral = np.stack([0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)], axis=1)
    return np.repeat(spiral[None].astype(np.float32), count, axis=0)
