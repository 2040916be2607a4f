"""Varying a face each time it is shown.

All functions take uint8 pictures, change nothing they are given, and draw from the generator they
are handed, so that the same generator gives the same picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from fs_feed_faces.options import AugmentationOptions

#: Points per axis of the grid that the random warp moves.
_GRID = 5
_CLAHE_CLIP = 2.0


def vary_color(
    image: np.ndarray, options: AugmentationOptions, random: np.random.Generator
) -> np.ndarray:
    """Change lightness and colour in Lab, and by chance even out the local contrast.

    A change v >= 0 moves a channel towards white (``x + (255 - x) v``), v < 0 towards black
    (``x (1 + v)``).

    Args:
        image: ``(h, h, 3)`` uint8 BGR.
        options: the ranges and the chance.
        random: where the numbers come from.
    """
    ranges = np.array([options.color_lightness, options.color_ab, options.color_ab]) / 100
    changes = random.uniform(-ranges, ranges)
    even_out = random.uniform(0, 100) < options.color_clahe_chance
    finer = int(random.integers(0, options.color_clahe_max_size, endpoint=True))

    values = np.arange(256.0)[:, None]
    table = np.where(changes >= 0, values + (255 - values) * changes, values * (1 + changes))
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
    lab = cv2.LUT(lab, np.rint(table).astype(np.uint8).reshape(1, 256, 3))
    if even_out:
        base = max(2, image.shape[0] // 128)
        grid = base + finer * (base // 2)
        lab[..., 0] = cv2.createCLAHE(_CLAHE_CLIP, (grid, grid)).apply(lab[..., 0].copy())
    return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)


def draw_movement(
    size: int, options: AugmentationOptions, random: np.random.Generator
) -> np.ndarray:
    """A random rotation, zoom and shift about the picture's centre, ``(2, 3)`` pixels to pixels."""
    angle = random.uniform(-options.rotation_range, options.rotation_range)
    zoom = random.uniform(-options.zoom_amount, options.zoom_amount) / 100
    shift = random.uniform(-options.shift_range, options.shift_range, 2) / 100 * size
    centre = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), angle, 1 + zoom)
    return np.column_stack([matrix[:, :2], matrix[:, 2] + shift])


def move(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A picture ``(h, h[, c])`` through `draw_movement`'s matrix; its border is continued."""
    size = picture.shape[0]
    return cv2.warpAffine(
        picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).reshape(picture.shape)


def mirrored(matrix: np.ndarray, size: int) -> np.ndarray:
    """The matrix of a movement ``(2, 3)`` that ends with mirroring left to right."""
    return np.stack([np.array([0, 0, size - 1]) - matrix[0], matrix[1]])


def draw_flip(options: AugmentationOptions, random: np.random.Generator) -> bool:
    """Whether to mirror a face left to right."""
    return bool(random.uniform(0, 100) < options.flip_chance)


def draw_warp(size: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Maps of a random warp: where each pixel comes from, x and y, each ``(size, size)`` float32.

    A 5 x 5 grid over the picture is moved by normal noise of ``size * 5 / 256`` pixels, enlarged
    to 1.25 times the picture, and its middle cut out. Grid coordinates run over pixel edges, so
    half a pixel is taken off: without noise the warp is the identity.
    """
    line = np.linspace(0, size, _GRID)
    noise = random.normal(0, size * 5 / 256, (2, _GRID, _GRID))
    grids = np.stack([np.tile(line, (_GRID, 1)), np.tile(line[:, None], _GRID)]) + noise
    wide = round(size * _GRID / (_GRID - 1))
    start = (wide - size) // 2
    inner = slice(start, start + size)
    x, y = (
        cv2.resize(grid.astype(np.float32), (wide, wide), interpolation=cv2.INTER_LINEAR)
        for grid in grids
    )
    return x[inner, inner] - 0.5, y[inner, inner] - 0.5


def warp(image: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A picture ``(h, h, 3)`` through the maps of a warp; black beyond its border."""
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
