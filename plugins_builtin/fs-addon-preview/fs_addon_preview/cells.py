"""Draw one face of a sheet: picture, the network's result in it, tint and corner marks."""

from __future__ import annotations

import attrs
import cv2
import numpy as np


@attrs.frozen(eq=False)
class Cell:
    """What is drawn into one cell.

    Attributes:
        face: ``(H, W, 3)`` uint8 BGR.
        box: left, top, right, bottom of the network's view in ``face``, in its pixels.
        mask: ``(H, W)`` uint8, 255 = face, or None.
        swap: ``(h, w, 3)`` uint8 BGR, what the network made of the box, or None.
        learned: ``(h, w)`` uint8, the mask the network made of the box, or None.
    """

    face: np.ndarray
    box: tuple[int, int, int, int]
    mask: np.ndarray | None = None
    swap: np.ndarray | None = None
    learned: np.ndarray | None = None


def draw_cell(
    cell: Cell, size: tuple[int, int], color: tuple[int, int, int], opacity: float
) -> np.ndarray:
    """Draw a cell.

    Args:
        cell: what to draw.
        size: width and height of the result; the face keeps its proportions and is centered.
        color: blue, green, red of tint and marks.
        opacity: 0..1 of the tint outside the mask.

    Returns:
        ``(height, width, 3)`` uint8 BGR, white where the face does not reach.
    """
    height, width = cell.face.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    left, top, right, bottom = (round(edge * scale) for edge in cell.box)
    place = (slice(top, bottom), slice(left, right))
    patch = (right - left, bottom - top)

    picture = resized(cell.face, inner)
    if cell.swap is not None:
        picture[place] = resized(cell.swap, patch)
    mask = None if cell.mask is None else resized(cell.mask, inner)
    if cell.learned is not None:
        mask = np.zeros(picture.shape[:2], np.uint8)
        mask[place] = resized(cell.learned, patch)
    if mask is not None and opacity > 0:
        picture = tinted(picture, mask, color, opacity)
    if patch != inner:
        draw_marks(picture, (left, top, right, bottom), color)

    drawn = np.full((size[1], size[0], 3), 255, np.uint8)
    x, y = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    drawn[y : y + inner[1], x : x + inner[0]] = picture
    return drawn


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a copy of ``size`` (width, height): averaged when smaller, sharp when larger."""
    height, width = picture.shape[:2]
    shrinks = size[0] < width or size[1] < height
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return cv2.resize(picture, size, interpolation=how)


def tinted(
    picture: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], opacity: float
) -> np.ndarray:
    """Blend ``color`` over everything outside the mask (uint8, 255 = inside, soft edges kept)."""
    strength = (1 - mask[..., None] / np.float32(255)) * np.float32(opacity)
    blended = picture * (1 - strength) + np.asarray(color, np.float32) * strength
    return np.rint(blended).astype(np.uint8)


def draw_marks(
    picture: np.ndarray, box: tuple[int, int, int, int], color: tuple[int, int, int]
) -> None:
    """Draw four L-shaped corners of ``box`` (left, top, right, bottom), a quarter of it long."""
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    across, down = (box[2] - box[0]) // 4, (box[3] - box[1]) // 4
    thickness = max(1, picture.shape[1] // 100)
    for x, to_x in ((left, left + across), (right, right - across)):
        for y, to_y in ((top, top + down), (bottom, bottom - down)):
            cv2.line(picture, (x, y), (to_x, y), color, thickness)
            cv2.line(picture, (x, y), (x, to_y), color, thickness)
