"""Draw a live display on a terminal: a bar that stays at the bottom, messages above it."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable, Sequence

from fs_kernel.types import Finished, Metrics, RunInfo, Saved
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fs_addon_console import lines
from fs_addon_console.pace import Pace

#: Columns between two facts, and the least and most columns a bar is drawn with.
_GAP = 2
_BAR = (8, 60)


class TerminalConsole(Console):
    """A rich console that cannot leave the terminal in a strange state.

    The cursor stays visible, so that even a killed process has nothing to restore, and a closed
    pipe raises instead of ending the process and closing its stdout.
    """

    def show_cursor(self, show: bool = True) -> bool:
        """Leave the cursor as it is."""
        return False

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError being handled."""
        raise


class LiveConsole:
    """The live display of a run.

    Args:
        console: an interactive console.
        values: names of the numbers to show; see `lines.Values`.
        clock: returns seconds, never going back.
    """

    def __init__(
        self,
        console: TerminalConsole,
        values: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._values = lines.Values(values)
        self._clock = clock
        self._pace = Pace()
        self._info: RunInfo | None = None
        self._metrics: Metrics | None = None
        self._saved = ""
        # stdout may be a file that other programs read: only a terminal's may be redirected.
        self._live = Live(
            self,
            console=console,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )

    def on_start(self, info: RunInfo) -> None:
        """Print what is about to be trained and draw the bar."""
        for line in lines.start(info):
            self._say(line)
        self._info = info
        atexit.register(self._live.stop)
        self._live.start(refresh=True)

    def on_metrics(self, metrics: Metrics) -> None:
        """Take in new numbers; the display's own thread draws them."""
        self._pace.update(metrics, self._clock())
        self._values.update(metrics)
        self._metrics = metrics

    def on_checkpoint(self, saved: Saved) -> None:
        """Print what was saved."""
        self._saved = f"saved {time.strftime('%H:%M')}"
        self._say(lines.saved(saved), style="green")

    def on_warning(self, message: str) -> None:
        """Print a warning, which may begin with the name of its source."""
        self._say(f"warning: {message}", style="yellow")

    def on_note(self, message: str) -> None:
        """Print what happened."""
        self._say(message)

    def on_finish(self, outcome: Finished) -> None:
        """Leave the last state of the bar and print how the session ended."""
        self._live.stop()
        atexit.unregister(self._live.stop)
        target = outcome.step if self._info is None else self._info.target_steps
        style = "red" if outcome.reason == "failed" else "bold"
        self._say(lines.finish(outcome, target), style=style)

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style), soft_wrap=True)

    def __rich__(self) -> Status | Text:
        """Return what stands at the bottom of the terminal now."""
        info, metrics = self._info, self._metrics
        if info is None:
            return Text("")
        if metrics is None:
            return Status(info.start_step, info.target_steps, "", ["starting"])
        remaining = self._pace.remaining(info.target_steps, self._clock())
        facts = [lines.losses(metrics.losses), lines.rate(metrics), self._saved]
        facts += self._values.words()
        return Status(metrics.step, info.target_steps, f"eta {lines.duration(remaining)}", facts)


class Status:
    """Two lines that fit any width: step, bar, per cent, time to go; below them the facts.

    Args:
        step: steps done.
        target: steps wanted.
        eta: words at the end of the first line.
        facts: words of the second line, the most important first; the last are left out where
            they do not fit.
    """

    def __init__(self, step: int, target: int, eta: str, facts: list[str]) -> None:
        self._step = step
        self._target = target
        self._eta = eta
        self._facts = [fact for fact in facts if fact]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the width the terminal has now."""
        width = options.max_width
        target = max(1, self._target)
        before = f"step {self._step}/{self._target}"
        after = [f"{100 * self._step // target}%", self._eta] if self._eta else []
        after = _fitting(after, width - len(before) - _GAP)
        room = width - len(before) - sum(len(word) + _GAP for word in after) - _GAP
        cells: list[Text | ProgressBar] = [Text(before)]
        if room >= _BAR[0]:
            cells.append(ProgressBar(target, self._step, width=min(room, _BAR[1])))
        yield _row([*cells, *(Text(word) for word in after)])
        facts = _fitting(self._facts, width) or self._facts[:1]
        yield _row([Text(fact, style="cyan") for fact in facts])


def _fitting(words: list[str], width: int) -> list[str]:
    """Return as many of the first words as fit, with gaps between them."""
    count = len(words)
    while count and sum(map(len, words[:count])) + _GAP * (count - 1) > width:
        count -= 1
    return words[:count]


def _row(cells: list[Text | ProgressBar]) -> Table:
    row = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for _ in cells:
        row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(*cells)
    return row
