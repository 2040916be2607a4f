"""Plain lines, for log files and terminals without a cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from fs_kernel import Interval
from fs_kernel.types import Finished, Metrics, RunInfo, Saved

from fs_addon_console import lines
from fs_addon_console.pace import Pace


class PlainConsole:
    """Write a line at the first step, then at the given pace, at saves and at the end.

    Args:
        stream: where to.
        interval: pace of the progress lines.
        values: names of the numbers to show; see `lines.Values`.
        clock: returns seconds, never going back.
    """

    def __init__(
        self,
        stream: TextIO,
        interval: Interval,
        values: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._interval = interval
        self._values = lines.Values(values)
        self._clock = clock
        self._pace = Pace()
        self._target = 0
        self._metrics: Metrics | None = None
        self._written: tuple[int, float] | None = None

    def on_start(self, info: RunInfo) -> None:
        """Write what is about to be trained."""
        self._target = info.target_steps
        for line in lines.start(info):
            self._write(line)

    def on_metrics(self, metrics: Metrics) -> None:
        """Write a progress line if one is due."""
        now = self._clock()
        self._pace.update(metrics, now)
        self._values.update(metrics)
        self._metrics = metrics
        if self._written is None or self._interval.due(
            metrics.step - self._written[0], now - self._written[1]
        ):
            self._write_progress(metrics, now)

    def on_checkpoint(self, saved: Saved) -> None:
        """Write what was saved."""
        self._write(lines.saved(saved))

    def on_warning(self, message: str) -> None:
        """Write a warning, which may begin with the name of its source."""
        self._write(f"warning: {message}")

    def on_note(self, message: str) -> None:
        """Write what happened."""
        self._write(message)

    def on_finish(self, outcome: Finished) -> None:
        """Write the last losses, unless they were, and how it ended."""
        last = self._metrics
        if last is not None and self._written is not None and last.step > self._written[0]:
            self._write_progress(last, self._clock())
        self._write(lines.finish(outcome, self._target))

    def _write_progress(self, metrics: Metrics, now: float) -> None:
        remaining = self._pace.remaining(self._target, now)
        self._write(lines.progress(metrics, self._target, remaining, self._values.words()))
        self._written = (metrics.step, now)

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
