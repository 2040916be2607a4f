"""Compute widths from one layer to the next."""

from __future__ import annotations


def _floor(value: float) -> int:
    """Return the largest multiple of 8 that is not above ``value``."""
    return int(value // 8) * 8


def curve(start: int, end: int, points: int, slope: float) -> list[int]:
    """Return widths from ``start`` to ``end`` along a normalized tunable sigmoid.

    With ``x`` evenly from 0 to 1, ``y = (x - x s) / (s - 2 s |x| + 1)`` goes from 0 to 1 too, fast
    first for ``s`` below 0, late for ``s`` above.

    Args:
        start: the first width.
        end: the last.
        points: number of widths; with one, only the start.
        slope: ``s``, between -1 and 1.

    Returns:
        Each rounded down to a multiple of 8.
    """
    widths = []
    for index in range(points):
        x = index / (points - 1) if points > 1 else 0.0
        y = (x - x * slope) / (slope - 2 * slope * abs(x) + 1)
        widths.append(_floor(y * (end - start) + start))
    return widths


def capped(largest: int, smallest: int, points: int, slope: float, hold: str) -> list[int]:
    """Return widths that each lose a share ``|slope|`` of the one before, down to the smallest.

    Args:
        largest: the first width.
        smallest: no width is less.
        points: number of widths; a longer fall is cut off.
        slope: the share that is lost; not 0.
        hold: what fills a fall that is shorter: "cap_max" repeats the largest in front, "cap_min"
            the smallest behind.

    Returns:
        Each rounded down to a multiple of 8.
    """
    fall = [_floor(largest)]
    while fall[-1] > _floor(smallest):
        fall.append(max(_floor(fall[-1] * (1 - abs(slope))), _floor(smallest)))
    missing = max(points - len(fall), 0)
    fall = fall[:1] * missing + fall if hold == "cap_max" else fall + fall[-1:] * missing
    return fall[:points]
