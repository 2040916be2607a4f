"""What is said on the command line while something takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

Item = TypeVar("Item")
#: Seconds until the first line, and between lines where they stay.
_FIRST, _NEXT = 3.0, 10.0
#: Seconds between the states of a bar on a terminal.
_MOVES = 0.2
_WIDTH = 24


def said(line: str) -> None:
    """Say something on stderr, within a command only."""
    if click.get_current_context(silent=True) is not None:
        click.echo(line, err=True)


def told(items: Iterable[Item], count: int, line: str) -> Iterator[Item]:
    """Pass items on; a command that waits for them shows on stderr how far it is.

    On a terminal it is one line with a bar that goes away at the end, elsewhere a line from time to
    time. Nothing is said outside of a command, or if it takes no longer than a few seconds.

    Args:
        items: what is passed on.
        count: how many there are.
        line: what is said, with two places for how many are done and ``count``.
    """
    speaks = click.get_current_context(silent=True) is not None
    bar = speaks and sys.stderr.isatty()
    due = time.monotonic() + _FIRST
    drawn = False
    for done, item in enumerate(items, 1):
        if speaks and done < count and time.monotonic() >= due:
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
