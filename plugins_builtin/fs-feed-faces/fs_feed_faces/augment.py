"""Augment one picture on the CPU: color, movement and warp, one pass over 8-bit pixels each.

No function but `blacken` changes its arguments. OpenCV interpolates four channels in half the time
of three, so pictures of three are widened first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from fs_feed_faces.augmentation_params import BORDER_DIGITS, GRID

_CLAHE_CLIP = 2.0


def vary_color(image: np.ndarray, table: np.ndarray, tiles: int) -> np.ndarray:
    """Return a picture with lightness and color changed in Lab, and local contrast equalized.

    Args:
        image: ``(h, h, 3)`` uint8 BGR.
        table: ``(256, 3)`` uint8, lookup table of the Lab values.
        tiles: per axis, each equalized by itself; 0 for none.

    Returns:
        ``(h, h, 4)`` uint8: BGR and 255.
    """
    channels = [
        cv2.LUT(channel, np.ascontiguousarray(table[:, i]))
        for i, channel in enumerate(cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2LAB)))
    ]
    if tiles:
        channels[0] = cv2.createCLAHE(_CLAHE_CLIP, (tiles, tiles)).apply(channels[0])
    return cv2.cvtColor(cv2.merge(channels), cv2.COLOR_LAB2BGR, dstCn=4)


def widen(picture: np.ndarray) -> np.ndarray:
    """Return three channels as four, other pictures unchanged."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA) if picture.shape[2:] == (3,) else picture


def narrow(picture: np.ndarray, rgb: bool = False) -> np.ndarray:
    """Return the first three of four channels, for RGB in reverse order."""
    return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGB if rgb else cv2.COLOR_BGRA2BGR)


def move(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return a picture ``(h, h[, c])`` moved by a matrix ``(2, 3)``, border replicated."""
    size = picture.shape[0]
    return cv2.warpAffine(
        picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def move_planes(planes: Sequence[np.ndarray], matrix: np.ndarray) -> list[np.ndarray]:
    """Return masks ``(h, h)`` each, moved as a picture is."""
    if len(planes) == 3:
        return list(cv2.split(move(cv2.merge([*planes, planes[0]]), matrix)))
    return [move(plane, matrix) for plane in planes]


def resample(picture: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Return a picture ``(h, h[, c])`` sampled at ``sources``, border replicated.

    Args:
        picture: to sample from.
        sources: ``(h, h, 2)`` float32, x and y of pixel centers.
    """
    # OpenCV's stub wants a second map, which must not be given beside one of pairs.
    second: Any = None
    return cv2.remap(picture, sources, second, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def spread(grid: np.ndarray, size: int) -> np.ndarray:
    """Return a grid over a picture interpolated linearly at each of its pixels.

    Args:
        grid: ``(5, 5, 2)`` float32; its outer points lie on the picture's edges.
        size: edge of the picture.

    Returns:
        ``(size, size, 2)`` float32.
    """
    wide = round(size * GRID / (GRID - 1))
    start = (wide - size) // 2
    whole = cv2.resize(grid, (wide, wide), interpolation=cv2.INTER_LINEAR)
    return whole[start : start + size, start : start + size]


def blacken(picture: np.ndarray, border: np.ndarray) -> None:
    """Set to black, in place, what a warp takes from beyond the border of the moved picture.

    Args:
        picture: ``(h, h, c)`` uint8, already warped.
        border: ``(4, k, 2)``, see `fs_feed_faces.augmentation_params.borders`.
    """
    for shape in border:
        if shape[0, 0] != shape[-1, 0] or shape[0, 1] != shape[-1, 1]:
            cv2.fillPoly(picture, [shape], (0, 0, 0, 0), cv2.LINE_AA, BORDER_DIGITS)
