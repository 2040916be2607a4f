"""What happens in a run, said once: records on disk first, then everything that watches.

`EventBus.emit` is the only way to say that something happened, and `METHODS` the only list of what
can happen.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from fs_kernel.errors import ModelFolderError
from fs_kernel.storage.history import LossHistory
from fs_kernel.training import records
from fs_kernel.training.observers import Observers
from fs_kernel.types import Message, Metrics, Observer, RunInfo

#: Event as it is recorded -> the observers' method that hears of it.
METHODS = {
    "started": "on_start",
    "first_batch": "on_first_batch",
    "metrics": "on_metrics",
    "preview": "on_preview",
    "saved": "on_checkpoint",
    "save_failed": "",
    "option": "on_note",
    "note": "on_note",
    "warning": "on_warning",
    "rolled_back": "",
    "finished": "on_finish",
}
#: Messages that are remembered, so that nothing is said twice.
_REMEMBERED = 256


class EventBus:
    """Record events and pass them on to observers.

    Args:
        step: returns the steps done.

    Attributes:
        relays: keep messages for process 0 instead of saying them.
        context: what each record says of this process.
        logs: the folder of the records, once they are open.
    """

    def __init__(self, step: Callable[[], int]) -> None:
        self.relays = False
        self.logs: Path | None = None
        self.context: Mapping[str, Any] = {}
        self._step = step
        self._log: records.EventLog | None = None
        self._history: LossHistory | None = None
        self._lock = threading.Lock()
        self._started = False
        self._held: list[Message] = []
        self._said: deque[tuple[str, str, str]] = deque(maxlen=_REMEMBERED)
        self._observers = Observers(self._observer_failed)

    def open(self, info: RunInfo, facts: dict[str, Any]) -> None:
        """Open the session's records in the model folder.

        Raises:
            ModelFolderError: they cannot be written.
        """
        logs = info.model_dir / "logs"
        try:
            self._log, self.logs = records.EventLog(logs), logs
            records.write_run_file(logs, info.session, facts)
            self._history = LossHistory(logs)
            self._history.go_back(self._step())
        except OSError as error:
            raise ModelFolderError(f"cannot write in {logs}: {error.strerror}") from error

    def watch(self, name: str, observer: Observer) -> None:
        """Let an observer hear of what follows; ``name`` is its add-on's."""
        self._observers.add(name, observer)

    def emit(self, event: str, argument: Any = None, **facts: Any) -> None:
        """Say that something happened. Safe from any thread.

        Args:
            event: one of `METHODS`.
            argument: what the observers' method is called with.
            facts: what is recorded; "step" stands for the step of the run.
        """
        if self._log is not None and event != "first_batch":
            self._log.write(event, **{"step": self._step(), **self.context, **facts})
        if self._history is not None:
            if isinstance(argument, Metrics):
                self._history.add(argument.step, argument.losses)
            elif event == "rolled_back":
                self._history.go_back(self._step())
        if method := METHODS[event]:
            self._observers.tell(method, argument)
        if event == "started":
            self._started = True
            self._say_held()

    def emit_record(self, event: str, record: Any) -> None:
        """Say that something happened of which an attrs record holds all facts."""
        self.emit(event, record, **attrs.asdict(record))

    # --- lines for the user ---

    def warn(self, text: str) -> None:
        """Warn the user, in one line. Safe from any thread."""
        self.say(Message("warning", text))

    def note(self, text: str) -> None:
        """Tell the user what happened, in one line. Safe from any thread."""
        self.say(Message("note", text))

    def say_all(self, warnings: Iterable[str], notes: Iterable[str]) -> None:
        """Say what gathered while the session was opened."""
        for line in warnings:
            self.warn(line)
        for line in notes:
            self.note(line)

    def say(self, message: Message) -> None:
        """Say a message once, when the session has started; or keep it for process 0.

        What the kernel and plugins say to the run itself may be said again.
        """
        known = (message.kind, message.source, message.text)
        with self._lock:
            repeated = known in self._said and bool(message.source or message.rank)
            self._said.append(known)
            if not repeated:
                self._held.append(message)
        if self._started:
            self._say_held()

    def _say_held(self) -> None:
        for message in () if self.relays else self._take_held():
            self.emit(message.kind, str(message), message=message.text, **message.origin())

    def take_relayed(self) -> tuple[Message, ...]:
        """Return the messages that process 0 has not heard."""
        return self._take_held() if self.relays else ()

    def _take_held(self) -> tuple[Message, ...]:
        with self._lock:
            held, self._held = self._held, []
        return tuple(held)

    def _observer_failed(self, line: str, error: BaseException | None) -> None:
        path = records.log_error(self.logs, error) if error is not None and self.logs else None
        self.warn(f"{line} (traceback: {path})" if path else line)

    def close(self) -> None:
        """Let observers work off what they were told, and write the last losses."""
        self._observers.close()
        if self._history is not None:
            self._history.close()
