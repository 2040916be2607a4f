"""Find numbers that explode: they rise far above their recent median and stay there."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping

#: Number of good readings in the median, and the fewest needed for a judgment.
WINDOW, LEAST = 100, 20


class Explosion:
    """Compare each reading with the median of the good ones before it, number by number.

    Only good readings enter the median, so that a bad stretch does not raise it. When options
    change, the scale of the numbers may change with them, and the medians start again.

    Args:
        factor: a reading above this multiple of the median is bad.
        patience: number of bad readings in a row that make an explosion.
    """

    def __init__(self, factor: float, patience: int) -> None:
        self._factor = factor
        self._patience = patience
        self._good: dict[str, deque[float]] = {}
        self._options: object = None
        self._bad = 0

    def judge(self, numbers: Mapping[str, float], options: object) -> str | None:
        """Take one reading, and return a line if the numbers have exploded.

        Args:
            numbers: values by their names in the returned line.
            options: any object that compares unequal once options have changed.

        Returns:
            One line that says what is bad, once it has been bad for long enough; else None.
        """
        if options != self._options:
            self._good.clear()
            self._options, self._bad = options, 0
        for name, number in numbers.items():
            good = self._good.setdefault(name, deque(maxlen=WINDOW))
            usual = statistics.median(good) if len(good) >= LEAST else number
            if number > self._factor * usual > 0 or not math.isfinite(number):
                return self._count_bad(name, number, usual)
        self._bad = 0
        for name, number in numbers.items():
            self._good[name].append(number)
        return None

    def _count_bad(self, name: str, number: float, usual: float) -> str | None:
        self._bad += 1
        if self._bad < self._patience:
            return None
        self._bad = 0
        if not math.isfinite(number):
            return f"{name} is {number}, which is not finite"
        return (
            f"{name} exploded: {number:.4g}, "
            f"{number / usual:.1f} times the {usual:.4g} that was usual"
        )
