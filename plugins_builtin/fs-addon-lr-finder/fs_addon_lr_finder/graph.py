"""Draw a search: loss over learning rate, and the three rates to choose from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from fs_faces.pictures import encode
from fs_kernel.storage import write_atomic

from fs_addon_lr_finder.search import DIVISORS, Sweep

#: The finished picture, and the frame of the curves in it: left, top, right, bottom.
WIDTH, HEIGHT = 960, 600
FRAME = (90, 70, 930, 520)
#: Everything is drawn so many times larger and then averaged down, which smooths lines and letters.
_FINE = 3
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _GREY, _PALE = (40, 40, 40), (110, 110, 110), (225, 225, 225)
_RAW, _MEAN = (215, 190, 165), (160, 85, 20)
_DOTS = {"default": (60, 150, 40), "aggressive": (0, 175, 230), "extreme": (40, 40, 210)}
#: Single losses outside these percentiles may be cut off.
_SHOWN = (5, 95)

Place = Callable[[float, float], tuple[int, int]]


def write_graph(path: Path, sweep: Sweep, strength: str) -> None:
    """Draw a search and write it as PNG, whole or not at all.

    Args:
        path: where to; its folder is made.
        sweep: with at least one step.
        strength: which of the three rates is the chosen one.

    Raises:
        OSError: it cannot be written.
    """
    data = encode(draw_graph(sweep, strength))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data)


def draw_graph(sweep: Sweep, strength: str) -> np.ndarray:
    """Return a search as a picture, ``(HEIGHT, WIDTH, 3)`` uint8 BGR."""
    skipped = sweep.settling if len(sweep.rates) > 2 * sweep.settling else 0
    exponents = [math.log10(rate) for rate in sweep.rates[skipped:]]
    means, losses = sweep.means[skipped:], sweep.losses[skipped:]
    low, high = _range([*means, *np.percentile(losses, _SHOWN)], 0.08)
    first, last = exponents[0], max(exponents[-1], exponents[0] + 1e-9)
    left, top, right, bottom = FRAME

    def place(exponent: float, loss: float) -> tuple[int, int]:
        x = left + (exponent - first) / (last - first) * (right - left)
        y = bottom - (min(max(loss, low), high) - low) / (high - low) * (bottom - top)
        return round(x * _FINE), round(y * _FINE)

    picture = np.full((HEIGHT * _FINE, WIDTH * _FINE, 3), 255, np.uint8)
    _write(picture, "Learning rate finder", (left, 38), 0.8, _BLACK)
    _draw_axes(picture, place, (first, last), (low, high))
    _draw_line(picture, [place(*point) for point in zip(exponents, losses, strict=True)], _RAW, 1)
    _draw_line(picture, [place(*point) for point in zip(exponents, means, strict=True)], _MEAN, 2)
    for row, name in enumerate(DIVISORS):
        _draw_choice(picture, place, sweep, name, row, name == strength)
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Return the least and the greatest value, with a margin around them."""
    low, high = min(values), max(values)
    more = margin * (high - low) or abs(high) * margin or 1.0
    return low - more, high + more


def _draw_axes(
    picture: np.ndarray, place: Place, exponents: tuple[float, float], losses: tuple[float, float]
) -> None:
    left, top, right, bottom = FRAME
    for exponent in range(math.ceil(exponents[0]), math.floor(exponents[1]) + 1):
        x = place(exponent, losses[0])[0]
        cv2.line(picture, (x, top * _FINE), (x, bottom * _FINE), _PALE, _FINE)
        _write(picture, f"1e{exponent}", (x // _FINE, bottom + 24), 0.5, _GREY, "center")
    for loss in np.linspace(*losses, 6):
        y = place(exponents[0], loss)[1]
        cv2.line(picture, (left * _FINE, y), (right * _FINE, y), _PALE, _FINE)
        _write(picture, f"{loss:.3g}", (left - 10, y // _FINE + 5), 0.5, _GREY, "right")
    corners = (left * _FINE, top * _FINE), (right * _FINE, bottom * _FINE)
    cv2.rectangle(picture, *corners, _GREY, _FINE)
    _write(picture, "learning rate", ((left + right) // 2, bottom + 58), 0.6, _BLACK, "center")
    _write(picture, "loss (thin: each step, thick: mean)", (left, top - 10), 0.5, _BLACK)


def _draw_choice(
    picture: np.ndarray, place: Place, sweep: Sweep, name: str, row: int, chosen: bool
) -> None:
    """Draw a dot on the curve, and its name and rate above the frame."""
    rate = sweep.result(name)
    words = f"{name}: none" if rate is None else f"{name}: {rate:.2e}"
    x, y = FRAME[0] + 270 + 195 * row, 38
    _draw_dot(picture, (x * _FINE, (y - 5) * _FINE), name)
    _write(picture, words, (x + 14, y), 0.5, _BLACK)
    if chosen:
        _write(picture, "chosen", (x + 14, y + 20), 0.5, _GREY)
    if rate is not None and sweep.rates[0] <= rate:
        nearest = min(range(len(sweep.rates)), key=lambda i: abs(math.log(sweep.rates[i] / rate)))
        _draw_dot(picture, place(math.log10(rate), sweep.means[nearest]), name)


def _draw_dot(picture: np.ndarray, at: tuple[int, int], name: str) -> None:
    cv2.circle(picture, at, 8 * _FINE, (255, 255, 255), -1)
    cv2.circle(picture, at, 6 * _FINE, _DOTS[name], -1)


def _draw_line(
    picture: np.ndarray, points: Sequence[tuple[int, int]], color: tuple[int, int, int], width: int
) -> None:
    cv2.polylines(picture, [np.array(points, np.int32)], False, color, width * _FINE)


def _write(
    picture: np.ndarray,
    text: str,
    at: tuple[int, int],
    scale: float,
    color: tuple[int, int, int],
    align: str = "left",
) -> None:
    """Draw words with their base line at ``at``, in finished pixels."""
    (width, _), _ = cv2.getTextSize(text, _FONT, scale * _FINE, _FINE)
    x = at[0] * _FINE - {"left": 0, "center": width // 2, "right": width}[align]
    cv2.putText(picture, text, (x, at[1] * _FINE), _FONT, scale * _FINE, color, _FINE, cv2.LINE_AA)
