"""Progress of a run on the terminal, or as plain lines.

Everything goes to stderr, so that stdout stays free for what a command prints for other programs.
"""

from __future__ import annotations

import sys
from typing import TextIO

import attrs
from fs_kernel import Interval, hookimpl, option
from fs_kernel.types import Run

from fs_addon_console.live import LiveConsole, TerminalConsole
from fs_addon_console.plain import PlainConsole

SECTION = "addon.console"


@attrs.frozen
class ConsoleOptions:
    """Options of the section ``[addon.console]``."""

    interval: Interval = option(
        Interval(seconds=10.0),
        "Pace of the lines written without a terminal, in steps (250) or time ('10s'); "
        "0 leaves only the first step, saves and the end.",
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    """The section ``[addon.console]``."""
    return {SECTION: ConsoleOptions}


@hookimpl
def make_observers(run: Run) -> list[LiveConsole | PlainConsole]:
    """One observer writing to stderr; none where the process has no stderr at all."""
    if sys.stderr is None:
        return []
    return [choose_console(sys.stderr, run.config[SECTION])]


def choose_console(stream: TextIO, options: ConsoleOptions) -> LiveConsole | PlainConsole:
    """A live display if ``stream`` is a terminal that can move its cursor, else plain lines.

    ``TERM=dumb`` and ``TTY_INTERACTIVE=0`` ask for plain lines on a terminal; ``NO_COLOR`` keeps
    the live display and takes its colours away.
    """
    terminal = TerminalConsole(file=stream, force_jupyter=False)
    if stream.isatty() and terminal.is_interactive:
        return LiveConsole(terminal)
    return PlainConsole(stream, options.interval)
