"""Show the progress of long work on the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

Item = TypeVar("Item")
#: Seconds until the first line, and between lines where they stay.
_FIRST, _NEXT = 3.0, 10.0
#: Seconds between updates of a bar on a terminal.
_MOVES = 0.2
_WIDTH = 24


def announce(line: str) -> None:
    """Print a line on stderr; outside of a command nothing is printed."""
    if click.get_current_context(silent=True) is not None:
        click.echo(line, err=True)


def track(items: Iterable[Item], count: int, line: str) -> Iterator[Item]:
    """Yield items and show on stderr how many are done.

    A terminal shows one line with a bar, which is erased at the end; elsewhere lines are printed
    from time to time. Nothing is printed outside of a command, or within the first few seconds.

    Args:
        items: yielded one by one.
        count: of the items.
        line: to print; two placeholders receive the number of items done and ``count``.
    """
    in_command = click.get_current_context(silent=True) is not None
    bar = in_command and sys.stderr.isatty()
    due = time.monotonic() + _FIRST
    drawn = False
    for done, item in enumerate(items, 1):
        if in_command and done < count and time.monotonic() >= due:
            due = time.monotonic() + (_MOVES if bar else _NEXT)
            text = line.format(done, count)
            full = _WIDTH * done // count
            drawn = bar
            if bar:
                text = f"\r[{'#' * full:-<{_WIDTH}}] {text}"
            click.echo(text, err=True, nl=not bar)
        yield item
    if drawn:
        click.echo("\r\x1b[K", err=True, nl=False)
