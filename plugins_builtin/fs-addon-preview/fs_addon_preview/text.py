"""Write words on a sheet, as large as their place allows."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: Letters take this part of a strip's height at most.
_HEIGHT = 0.45
_PADDING = 4


def draw_text(
    picture: np.ndarray,
    text: str,
    box: tuple[int, int, int, int],
    color: tuple[int, int, int],
    align: Literal["left", "center", "right"],
) -> None:
    """Draw one line, centered vertically and never wider than its box.

    Args:
        picture: ``(h, w, 3)`` uint8 BGR, drawn on in place.
        text: one line.
        box: left, top, right, bottom.
        color: blue, green, red.
        align: where in the width.
    """
    left, top, right, bottom = box
    (width, height), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    scale = min(_HEIGHT * (bottom - top) / height, (right - left - 2 * _PADDING) / width)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    free = right - left - width
    x = left + {"left": 0, "center": free // 2, "right": free}[align]
    y = top + (bottom - top + height) // 2
    cv2.putText(picture, text, (x, y), _FONT, scale, color, 1, cv2.LINE_AA)
