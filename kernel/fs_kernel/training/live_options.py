"""Options that change while a run goes on: asked for from any thread, applied between steps."""

from __future__ import annotations

import threading
from typing import Any

import attrs

from fs_kernel.options import check_option
from fs_kernel.training.resolve import ResolvedRun
from fs_kernel.types import Group


@attrs.define
class _Change:
    name: str
    value: Any
    at_step: int
    previous: Any = None
    applied: bool = False


class Changes:
    """The changes asked for in a session.

    Args:
        parts: the run whose options change.
        group: the processes that share the run. What process 0 is asked for holds for all, from
            their next `exchange` on; what another one is asked for is only checked.
    """

    def __init__(self, parts: ResolvedRun, group: Group) -> None:
        self._parts, self._group = parts, group
        self._lock = threading.Lock()
        self._changes: list[_Change] = []
        self._asked: list[_Change] = []

    def request(self, name: str, value: Any, at_step: int | None, bounded: bool) -> None:
        """Ask for a change; see `fs_kernel.types.Run.set_option`.

        Raises:
            ConfigError: it cannot be made.
        """
        checked = check_option(self._parts.config, name, value, bounded)
        with self._lock:
            if self._group.size == 1:
                self._changes.append(_Change(name, checked, at_step or 0))
            elif self._group.rank == 0:
                self._asked.append(_Change(name, checked, at_step or 0))

    @property
    def waiting(self) -> bool:
        """Whether there is something that other processes have not heard of."""
        return bool(self._asked)

    def exchange(self) -> None:
        """Let every process hear what process 0 was asked for."""
        with self._lock:
            asked, self._asked = self._asked, []
            self._changes += self._group.share(asked)

    def apply(self, step: int) -> list[tuple[str, Any]]:
        """Make the changes that are due before ``step``, in order of their steps.

        Returns:
            Name and new value of every option that is now another.
        """
        made = []
        with self._lock:
            waiting = (c for c in self._changes if not c.applied and c.at_step <= step)
            for change in sorted(waiting, key=lambda change: change.at_step):
                section, _, key = change.name.rpartition(".")
                change.previous = getattr(self._parts.config[section], key)
                change.applied = True
                if change.previous != change.value:
                    self._parts.set_option(section, key, change.value, step)
                    made.append((change.name, change.value))
        return made

    def go_back(self, step: int) -> list[str]:
        """Undo the changes that were made for steps after ``step``; they will be made again.

        Returns:
            The names of their options.
        """
        undone = []
        with self._lock:
            for change in reversed(self._changes):
                if change.applied and change.at_step > step + 1:
                    section, _, key = change.name.rpartition(".")
                    self._parts.set_option(section, key, change.previous, step)
                    change.applied = False
                    undone.append(change.name)
        return undone
