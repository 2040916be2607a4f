"""Telling everybody what happens: the run's records, and whoever watches.

Where several processes share a run, only process 0 is heard; it passes on what the others say.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from fs_kernel.errors import ModelFolderError
from fs_kernel.storage.model_state import ModelState
from fs_kernel.training import records as events
from fs_kernel.training.observers import Observers
from fs_kernel.types import Group

#: Lines that process 0 remembers, so that it does not repeat what others say alike.
_REMEMBERED = 256


class Telling:
    """What is told of a run, by whom.

    Args:
        group: the processes that share the run.
        state: of the model; knows the step.
    """

    def __init__(self, group: Group, state: ModelState) -> None:
        self._group, self._state = group, state
        self._events: events.EventLog | None = None
        self._waiting: list[tuple[str, str]] = []
        self._told: deque[str] = deque(maxlen=_REMEMBERED)
        self.observers = Observers(lambda line: self.line("warning", line))

    def begin(self, logs: Path, session: int, facts: dict[str, Any]) -> None:
        """Begin the session's records.

        Raises:
            ModelFolderError: they cannot be written.
        """
        try:
            self._events = events.EventLog(logs)
            events.write_run_file(logs, session, facts)
        except OSError as error:
            raise ModelFolderError(f"cannot write in {logs}: {error.strerror}") from error

    def event(self, event: str, step: int | None = None, **facts: Any) -> None:
        """Record what happened, at ``step`` or now."""
        who = {"rank": self._group.rank} if self._group.size > 1 else {}
        if self._events is not None:
            self._events.write(
                event, self._state.iterations if step is None else step, **(who | facts)
            )

    def line(self, kind: str, line: str, rank: int = 0) -> None:
        """Tell a line for the user, a "warning" or a "note". Safe from any thread.

        Args:
            kind: which.
            line: the line.
            rank: of the process that says so.
        """
        if self._group.rank > 0:
            self._waiting.append((kind, line))
        elif rank == 0 or line not in self._told:
            self._told.append(line)
            self.event(kind, message=line, **({"rank": rank} if rank else {}))
            self.observers.tell(f"on_{kind}", f"process {rank}: {line}" if rank else line)

    @property
    def waiting(self) -> int:
        """How many lines this process has for process 0."""
        return len(self._waiting)

    def exchange(self) -> None:
        """Let process 0 tell what the others have to say, unless it has said the same."""
        lines, self._waiting = self._waiting, []
        for rank, told in enumerate(self._group.gather(lines)):
            for kind, line in told:
                self.line(kind, line, rank)
