"""What is said on the command line while something takes long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

Item = TypeVar("Item")
#: Seconds until the first line, and between lines.
_FIRST, _NEXT = 3.0, 10.0


def told(items: Iterable[Item], count: int, line: str) -> Iterator[Item]:
    """Pass items on; a command that waits for them says on stderr how far it is.

    Nothing is said outside of a command, or if it takes no longer than a few seconds.

    Args:
        items: what is passed on.
        count: how many there are.
        line: what is said, with two places for how many are done and ``count``.
    """
    speaks = click.get_current_context(silent=True) is not None
    due = time.monotonic() + _FIRST
    for done, item in enumerate(items, 1):
        if speaks and done < count and time.monotonic() >= due:
            due = time.monotonic() + _NEXT
            click.echo(line.format(done, count), err=True)
        yield item
