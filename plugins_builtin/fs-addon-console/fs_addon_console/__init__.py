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
    values: list[str] = option(
        [],
        "Names of the numbers to show beside the losses, out of those that trainer, objectives and "
        "add-ons report; empty shows the first three.",
    )


class ConsoleAddOn:
    """The console of one run; see `fs_kernel.types.AddOn`.

    Args:
        run: the run to show.
    """

    def __init__(self, run: Run) -> None:
        self._options: ConsoleOptions = run.config[SECTION]

    def observers(self) -> list[LiveConsole | PlainConsole]:
        """Return one observer that writes to stderr; none if the process has no stderr."""
        return [choose_console(sys.stderr, self._options)] if sys.stderr is not None else []


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the section ``[addon.console]``."""
    return {SECTION: ConsoleOptions}


@hookimpl
def create_addon(run: Run) -> ConsoleAddOn:
    """Create the console of a run."""
    return ConsoleAddOn(run)


def choose_console(stream: TextIO, options: ConsoleOptions) -> LiveConsole | PlainConsole:
    """Return a live display if ``stream`` is a terminal that can move its cursor, else plain lines.

    ``TERM=dumb`` and ``TTY_INTERACTIVE=0`` ask for plain lines on a terminal; ``NO_COLOR`` keeps
    the live display and takes its colors away.
    """
    terminal = TerminalConsole(file=stream, force_jupyter=False)
    if stream.isatty() and terminal.is_interactive:
        return LiveConsole(terminal, options.values)
    return PlainConsole(stream, options.interval, options.values)
