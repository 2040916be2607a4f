"""Estimate how fast a run is."""

from __future__ import annotations

import math

from fs_kernel.types import Metrics


class Pace:
    """Seconds per step by the wall clock, where older steps count less and less.

    Time and steps are summed with the same exponential forgetting and then divided, so slow and
    fast steps count for what they cost, saves and previews included. The first report has no
    time before it (that span holds the warm-up) and lends its own median until the second comes.
    """

    #: After this many seconds a measurement counts 1/e of a fresh one.
    MEMORY = 120.0

    def __init__(self) -> None:
        self._seconds = 0.0
        self._steps = 0.0
        self._last: tuple[int, float] | None = None
        self._seconds_per_step = 0.0

    def update(self, metrics: Metrics, now: float) -> None:
        """Take in one report.

        Args:
            metrics: the report.
            now: seconds on a clock that never goes back.
        """
        if self._last is None:
            self._seconds_per_step = metrics.step_seconds
        else:
            steps, seconds = metrics.step - self._last[0], now - self._last[1]
            forget = math.exp(-seconds / self.MEMORY)
            self._seconds = self._seconds * forget + seconds
            self._steps = self._steps * forget + steps
            if self._steps > 0:
                self._seconds_per_step = self._seconds / self._steps
        self._last = (metrics.step, now)

    def remaining(self, target: int, now: float) -> float:
        """Return the seconds until step ``target``, counting down between reports; at least 0."""
        if self._last is None:
            return math.inf
        step, then = self._last
        return max(0.0, (target - step) * self._seconds_per_step - (now - then))
