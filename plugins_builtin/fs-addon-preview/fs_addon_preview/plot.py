"""Draw the losses of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import cv2
import numpy as np
from fs_kernel.types import Side

from fs_addon_preview.text import draw_text

Curves = Mapping[Side, tuple[np.ndarray, np.ndarray]]

MARGIN = 12
INK, FRAME, GRID = (0, 0, 0), (150, 150, 150), (228, 228, 228)
#: Blue, orange, green, purple, as blue, green, red.
COLORS = ((190, 100, 30), (20, 120, 230), (60, 150, 50), (160, 60, 130))
#: The bold line is a running mean over this part of all points.
SMOOTHED = 1 / 25
#: Fractional bits of the coordinates given to OpenCV.
_SHIFT = 4


@attrs.frozen
class Axis:
    """One axis of the plot: values between ``low`` and ``high``, logarithmic or not."""

    low: float
    high: float
    logarithmic: bool

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return where values lie, 0 at ``low``, 1 at ``high``; clipped to the axis."""
        values = np.clip(values, self.low, self.high)
        if self.logarithmic:
            return np.log(values / self.low) / math.log(self.high / self.low)
        return (values - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        """Return at most ``most`` round values, ascending."""
        for step in _steps(self.high - self.low):
            first = math.ceil(self.low / step)
            found = [i * step for i in range(first, math.floor(self.high / step) + 1)]
            if len(found) <= most:
                break
        if not self.logarithmic or self.high < 5 * self.low:
            return found
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [d * 10.0**e for e in decades for d in digits]
            found = [value for value in found if self.low <= value <= self.high]
            if len(found) <= most:
                break
        return found


def loss_axis(losses: np.ndarray) -> Axis:
    """Return the axis for losses: logarithmic if all are positive, and without rare extremes.

    Args:
        losses: of all sides.
    """
    low = float(losses.min())
    usual = max(low, float(np.quantile(losses, 0.99)))
    high = min(float(losses.max()), usual + 9 * abs(usual))
    if low > 0:
        return Axis(low / 1.05, high * 1.05, True)
    room = 0.05 * (high - low) or 1.0
    return Axis(low - room, high + room, False)


def draw_losses(curves: Curves, width: int) -> np.ndarray:
    """Draw the loss of each side over the steps.

    Args:
        curves: per side ``(steps, losses)``, at least two points.
        width: of the picture; its height follows.

    Returns:
        ``(height, width, 3)`` uint8 BGR.
    """
    height = max(120, min(320, round(width / 6)))
    strip = max(20, height // 9)
    picture = np.full((height, width, 3), 255, np.uint8)
    left, top, right, bottom = MARGIN + 3 * strip, strip, width - MARGIN, height - strip
    steps = np.concatenate([s for s, _ in curves.values()])
    x_axis = Axis(float(steps.min()), float(steps.max()), False)
    y_axis = loss_axis(np.concatenate([v for _, v in curves.values()]))

    def across(values: np.ndarray) -> np.ndarray:
        return left + x_axis.place(values) * (right - left)

    def down(values: np.ndarray) -> np.ndarray:
        return bottom - y_axis.place(values) * (bottom - top)

    for value in y_axis.ticks(6):
        y = round(float(down(np.array(value))))
        cv2.line(picture, (left, y), (right, y), GRID, 1)
        box = (MARGIN, y - strip // 2, left - 2, y + strip // 2)
        draw_text(picture, f"{value:.3g}", box, INK, "right")
    ticks = x_axis.ticks(max(2, (right - left) // (8 * strip)))
    for value in (tick for tick in ticks if abs(tick - round(tick)) < 1e-6):
        x = round(float(across(np.array(value))))
        cv2.line(picture, (x, top), (x, bottom), GRID, 1)
        box = (x - 3 * strip, bottom, min(x + 3 * strip, right), height)
        draw_text(picture, f"{round(value):,}", box, INK, "right" if box[2] == right else "center")
    cv2.rectangle(picture, (left, top), (right, bottom), FRAME, 1)
    for (at, losses), color in zip(curves.values(), _colors(len(curves)), strict=True):
        pale = tuple(round(255 - (255 - c) * 0.35) for c in color)
        _line(picture, across(at), down(losses), pale, 1)
        _line(picture, across(at), down(smoothed(losses)), color, 2)
    _legend(picture, curves, (left, 0, right, top))
    return picture


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return a running mean around each value; at the ends, of what there is on one side.

    Args:
        values: ``(n,)``.
    """
    half = round(len(values) * SMOOTHED / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, end = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    means: np.ndarray = (sums[end] - sums[first]) / (end - first)
    return means


def _legend(picture: np.ndarray, curves: Curves, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    height = bottom - top
    draw_text(picture, "loss", (left, top, left + 3 * height, bottom), INK, "left")
    x, each = left + 3 * height, 7 * height
    for (side, (_, losses)), color in zip(curves.items(), _colors(len(curves)), strict=True):
        if x + each > right:
            break
        y = (top + bottom) // 2
        cv2.line(picture, (x, y), (x + height, y), color, 3)
        words = f"{side.upper()} {smoothed(losses)[-1]:.4g}"
        draw_text(picture, words, (x + height + 6, top, x + each, bottom), INK, "left")
        x += each


def _colors(count: int) -> list[tuple[int, int, int]]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _line(
    picture: np.ndarray, x: np.ndarray, y: np.ndarray, color: tuple[int, ...], thickness: int
) -> None:
    points = np.rint(np.stack([x, y], axis=1) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(picture, [points], False, color, thickness, cv2.LINE_AA, _SHIFT)


def _steps(span: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, ascending, of which ``span`` holds ever fewer."""
    lowest = math.floor(math.log10(span)) - 2 if span > 0 else 0
    return [digit * 10.0**e for e in range(lowest, lowest + 5) for digit in (1, 2, 5)]
