"""Decide when a preview is due."""

from __future__ import annotations

import time
from collections.abc import Callable

from fs_kernel import Interval


class Schedule:
    """Decide when to ask for a preview, after the one of the first step.

    With an interval: every N steps or seconds. Without: at every full minute of the first
    ten (a missed minute is not made up for), then at every save. The interval may differ
    at each call.

    Args:
        step: steps done before the session.
        clock: returns seconds, never going back.
    """

    MINUTES = 10

    def __init__(self, step: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._minute = 0
        self._last = (step, self._started)

    def due(self, step: int, interval: Interval) -> bool:
        """Return whether to ask now that ``step`` is done; True counts as having asked.

        Args:
            step: steps done.
            interval: the pace the user chose; `Interval()` for the usual one.
        """
        now = self._clock()
        if interval == Interval():
            minute = min(int((now - self._started) // 60), self.MINUTES)
            due, self._minute = minute > self._minute, minute
        else:
            # After a roll-back the steps begin again below the last one.
            since = min(self._last[0], step)
            due = interval.due(step - since, now - self._last[1])
            self._last = (since, self._last[1])
        if due:
            self._last = (step, now)
        return due

    def due_at_save(self, interval: Interval) -> bool:
        """Return whether to ask now that a save is done."""
        return interval == Interval() and self._clock() - self._started >= 60 * self.MINUTES
