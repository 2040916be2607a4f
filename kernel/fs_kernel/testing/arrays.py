"""Pictures made of numbers, for tests that need faces but no files of any."""

from __future__ import annotations

import numpy as np

from fs_kernel.randomness import generator


def array_face(seed: int, side: str, index: int, size: int) -> np.ndarray:
    """A colour at each corner and a smooth change between them.

    Args:
        seed: key of the colours.
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
    """The first ``count`` faces of a side, ``(count, size, size, 3)`` float32, 0..1."""
    return np.stack([array_face(seed, side, index, size) for index in range(count)])


def array_mask(name: str, size: int) -> np.ndarray:
    """The mask of every array face: a disc for the face, a bar each for "eye" and "mouth".

    Returns:
        ``(size, size, 1)`` float32, 0 or 1.
    """
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    inside = {
        "face": x**2 + y**2 <= 1,
        "eye": np.abs(y + 0.4) <= 0.2,
        "mouth": np.abs(y - 0.4) <= 0.2,
    }[name]
    return inside[..., None].astype(np.float32)
