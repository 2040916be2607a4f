"""How a face is varied step by step, each step a pass over its pixels: what the feed must equal.

Color, then movement, then mirroring; the target is taken; then the warp for the input. Written
from the same numbers as the feed's, but with none of its code after them.
"""

from __future__ import annotations

import cv2
import numpy as np
from fs_feed_faces.augmentation_params import RandomNumbers
from fs_feed_faces.options import AugmentationOptions


def recolored(image: np.ndarray, options: AugmentationOptions, numbers: RandomNumbers, row: int):
    """``(h, h, 3)`` uint8 BGR with other colors and contrast."""
    limits = np.array([options.color_lightness, options.color_ab, options.color_ab]) / 100
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(float)
    for channel, (v, limit) in enumerate(zip(numbers.uniform[row, :3], limits, strict=True)):
        change = (2 * v - 1) * limit
        x = lab[..., channel]
        lab[..., channel] = x + (255 - x) * change if change >= 0 else x * (1 + change)
    lab = np.rint(lab).astype(np.uint8)
    if numbers.uniform[row, 3] * 100 < options.color_clahe_chance:
        base = max(2, len(image) // 128)
        grid = base + int(numbers.uniform[row, 4] * (options.color_clahe_max_size + 1)) * (
            base // 2
        )
        lab[..., 0] = cv2.createCLAHE(2.0, (grid, grid)).apply(lab[..., 0].copy())
    return cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)


def movement(
    size: int, options: AugmentationOptions, numbers: RandomNumbers, row: int
) -> np.ndarray:
    """Rotation, zoom and shift, ``(2, 3)``."""
    angle, zoom, x, y = 2 * numbers.uniform[row, 5:9] - 1
    center = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D(
        (center, center), angle * options.rotation_range, 1 + zoom * options.zoom_amount / 100
    )
    matrix[:, 2] += np.array([x, y]) * options.shift_range / 100 * size
    return matrix


def flipped(options: AugmentationOptions, numbers: RandomNumbers, row: int) -> bool:
    """Whether it is mirrored."""
    return bool(options.flip and numbers.uniform[row, 9] * 100 < options.flip_chance)


def moved(picture: np.ndarray, options: AugmentationOptions, numbers: RandomNumbers, row: int):
    """A picture or mask ``(h, h[, c])`` moved, then mirrored."""
    size = len(picture)
    matrix = movement(size, options, numbers, row)
    picture = cv2.warpAffine(picture, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return cv2.flip(picture, 1) if flipped(options, numbers, row) else picture


def warped(picture: np.ndarray, numbers: RandomNumbers, row: int):
    """A picture warped at random, black beyond its border."""
    size = len(picture)
    line = np.linspace(0, size, 5)
    wide = round(size * 1.25)
    start = (wide - size) // 2
    inner = slice(start, start + size)
    noise = numbers.normal[row] * (size * 5 / 256)
    grids = (np.tile(line, (5, 1)) + noise[..., 0], np.tile(line[:, None], 5) + noise[..., 1])
    x, y = (cv2.resize(grid.astype(np.float32), (wide, wide))[inner, inner] - 0.5 for grid in grids)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def through_maps(picture: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A picture whose pixels come from these places."""
    return cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
