"""Varying one picture: colour, movement and warp, each one pass over its 8-bit pixels.

Nothing here changes what it is given, but for `blacken`. Pictures of four channels take half the
time of three in OpenCV's interpolation, so three are widened on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fs_feed_faces.variation import BORDER_DIGITS, GRID

_CLAHE_CLIP = 2.0


def vary_color(image: np.ndarray, table: np.ndarray, tiles: int) -> np.ndarray:
    """Change lightness and colour in Lab, and even out the local contrast.

    Args:
        image: ``(h, h, 3)`` uint8 BGR.
        table: ``(256, 3)`` uint8, what each Lab value becomes.
        tiles: per axis, whose contrast is evened out by itself; 0 for none.

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
    """Three channels as four; others as they are."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA) if picture.shape[2:] == (3,) else picture


def narrow(picture: np.ndarray, rgb: bool = False) -> np.ndarray:
    """The first three of four channels, if asked for in reverse order."""
    return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGB if rgb else cv2.COLOR_BGRA2BGR)


def move(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A picture ``(h, h[, c])`` through a matrix ``(2, 3)``; its border is continued."""
    size = picture.shape[0]
    return cv2.warpAffine(
        picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def move_planes(planes: Sequence[np.ndarray], matrix: np.ndarray) -> list[np.ndarray]:
    """Masks ``(h, h)`` each, moved as a picture is."""
    if len(planes) == 3:
        return list(cv2.split(move(cv2.merge([*planes, planes[0]]), matrix)))
    return [move(plane, matrix) for plane in planes]


def resample(picture: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """A picture ``(h, h[, c])`` whose pixels come from ``sources``; its border is continued.

    Args:
        picture: where they come from.
        sources: ``(h, h, 2)`` float32, x and y of pixel centres.
    """
    return cv2.remap(picture, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def spread(grid: np.ndarray, size: int) -> np.ndarray:
    """The points of a grid over a picture, for each of its pixels: linear in between.

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
    """Black out, in place, what a warp takes from beyond the border of the moved picture.

    Args:
        picture: ``(h, h, c)`` uint8, already warped.
        border: ``(4, k, 2)``, see `fs_feed_faces.variation.borders`.
    """
    for shape in border:
        if shape[0, 0] != shape[-1, 0] or shape[0, 1] != shape[-1, 1]:
            cv2.fillPoly(picture, [shape], (0, 0, 0, 0), cv2.LINE_AA, BORDER_DIGITS)
