"""Options that change during a run: asked for from any thread, applied between steps."""

from __future__ import annotations

import threading
from typing import Any

import attrs

from fs_kernel.options.store import OptionStore, check_option
from fs_kernel.types import OptionChange


@attrs.define
class _Applied:
    change: OptionChange
    applied: bool = False
    previous: Any = None


class LiveOptions:
    """The changes of options in a session.

    Args:
        store: the run's options.
        decides: whether this process decides; what another one is asked for is only checked.
    """

    def __init__(self, store: OptionStore, decides: bool = True) -> None:
        self._store, self._decides = store, decides
        self._lock = threading.Lock()
        self._asked: list[OptionChange] = []
        self._known: list[_Applied] = []

    def request(
        self, name: str, value: Any, at_step: int | None = None, bounded: bool = True
    ) -> None:
        """Ask for a change; see `fs_kernel.types.Run.set_option`.

        Raises:
            ConfigError: it cannot be made.
        """
        checked = check_option(self._store.config, name, value, bounded)
        if self._decides:
            with self._lock:
                self._asked.append(OptionChange(name, checked, at_step or 0))

    def take_requests(self) -> tuple[OptionChange, ...]:
        """Return what was asked for since the last call, to be accepted in all processes."""
        with self._lock:
            asked, self._asked = self._asked, []
        return tuple(asked)

    def accept(self, changes: tuple[OptionChange, ...]) -> None:
        """Plan changes that all processes know of."""
        self._known += [_Applied(change) for change in changes]

    def apply(self, step: int) -> list[tuple[str, Any]]:
        """Make the changes that are due before ``step``, in order of their steps.

        Returns:
            Name and new value of every option that is now different.
        """
        made = []
        due = (k for k in self._known if not k.applied and k.change.at_step <= step)
        for known in sorted(due, key=lambda k: k.change.at_step):
            name, value = known.change.name, known.change.value
            section, _, key = name.rpartition(".")
            known.previous = getattr(self._store.config[section], key)
            known.applied = True
            if known.previous != value:
                self._store.set(section, key, value, f"changed at step {step}")
                made.append((name, value))
        return made

    def undo_after(self, step: int) -> list[str]:
        """Undo the changes that were made for steps after ``step``; they will be made again.

        Returns:
            The names of their options.
        """
        undone = []
        for known in reversed(self._known):
            if known.applied and known.change.at_step > step + 1:
                section, _, key = known.change.name.rpartition(".")
                self._store.set(section, key, known.previous, f"changed at step {step}")
                known.applied = False
                undone.append(known.change.name)
        return undone
