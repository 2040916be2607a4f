"""What happens in a run, said once: records on disk first, then everything that watches.

An event is a class; `EventBus.emit` is the only way to say that something happened.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import attrs

from fs_kernel.errors import ModelFolderError
from fs_kernel.options.fields import to_toml_value
from fs_kernel.storage.history import LossHistory
from fs_kernel.training.messages import Message
from fs_kernel.training.observers import Observers
from fs_kernel.training.records import EventLog, log_error, write_run_file
from fs_kernel.types import Batch, Finished, Metrics, Observer, Preview, RunInfo, Saved

#: Messages that are remembered, so that nothing is said twice.
_REMEMBERED = 256


@attrs.frozen
class Event:
    """Something that happened.

    Attributes:
        name: in ``events.jsonl``; "" for what is not recorded.
        method: the observers' method that hears of it; "" for none.
    """

    name: ClassVar[str] = ""
    method: ClassVar[str] = ""

    def facts(self) -> dict[str, Any]:
        """Return what is recorded; a "step" among it stands for the step of the run."""
        return {}

    def arguments(self) -> tuple[Any, ...]:
        """Return what the observers' method is called with."""
        return ()


@attrs.frozen
class Started(Event):
    """The session begins."""

    name, method = "started", "on_start"
    info: RunInfo

    def facts(self) -> dict[str, Any]:
        """Return target and number of the session."""
        return {"target": self.info.target_steps, "session": self.info.session}

    def arguments(self) -> tuple[Any, ...]:
        """Return the facts of the session."""
        return (self.info,)


@attrs.frozen
class FirstBatch(Event):
    """The first batch of the session, on the CPU."""

    method = "on_first_batch"
    batch: Batch

    def arguments(self) -> tuple[Any, ...]:
        """Return the batch."""
        return (self.batch,)


@attrs.frozen
class MetricsRead(Event):
    """Losses were read back."""

    name, method = "metrics", "on_metrics"
    metrics: Metrics

    def facts(self) -> dict[str, Any]:
        """Return all metrics."""
        return attrs.asdict(self.metrics)

    def arguments(self) -> tuple[Any, ...]:
        """Return the metrics."""
        return (self.metrics,)


@attrs.frozen
class PreviewMade(Event):
    """A preview was made."""

    name, method = "preview", "on_preview"
    preview: Preview

    def arguments(self) -> tuple[Any, ...]:
        """Return the preview."""
        return (self.preview,)


@attrs.frozen
class CheckpointSaved(Event):
    """A save is finished and counts."""

    name, method = "saved", "on_checkpoint"
    saved: Saved

    def facts(self) -> dict[str, Any]:
        """Return the facts of the save."""
        return attrs.asdict(self.saved)

    def arguments(self) -> tuple[Any, ...]:
        """Return the facts of the save."""
        return (self.saved,)


@attrs.frozen
class SaveFailed(Event):
    """A save could not be written; the run continues."""

    name = "save_failed"
    step: int
    message: str

    def facts(self) -> dict[str, Any]:
        """Return step and line."""
        return attrs.asdict(self)


@attrs.frozen
class OptionChanged(Event):
    """An option has another value from ``first_step`` on."""

    name, method = "option", "on_note"
    option: str
    value: Any
    first_step: int

    def facts(self) -> dict[str, Any]:
        """Return name and value."""
        return {"name": self.option, "value": to_toml_value(self.value)}

    def arguments(self) -> tuple[Any, ...]:
        """Return the line for the user."""
        value = json.dumps(to_toml_value(self.value))
        return (f"from step {self.first_step} on: {self.option} = {value}",)


@attrs.frozen
class Said(Event):
    """A line for the user."""

    message: Message

    @property
    def name(self) -> str:  # type: ignore[override]
        """The kind of the message."""
        return self.message.kind

    @property
    def method(self) -> str:  # type: ignore[override]
        """The observers' method for this kind."""
        return f"on_{self.message.kind}"

    def facts(self) -> dict[str, Any]:
        """Return the text, and who said it."""
        source = {"source": self.message.source} if self.message.source else {}
        rank = {"rank": self.message.rank} if self.message.rank else {}
        return {"message": self.message.text, **source, **rank}

    def arguments(self) -> tuple[Any, ...]:
        """Return the line."""
        return (str(self.message),)


@attrs.frozen
class RolledBack(Event):
    """Training went back to a checkpoint."""

    name = "rolled_back"
    reason: str
    bad_step: int
    generation: str

    def facts(self) -> dict[str, Any]:
        """Return why, and to what."""
        return attrs.asdict(self)


@attrs.frozen
class SessionFinished(Event):
    """The session is over; the last event."""

    name, method = "finished", "on_finish"
    outcome: Finished

    def facts(self) -> dict[str, Any]:
        """Return how it ended."""
        outcome = self.outcome
        return {"reason": outcome.reason, "seconds": outcome.seconds, "error": outcome.error}

    def arguments(self) -> tuple[Any, ...]:
        """Return how it ended."""
        return (self.outcome,)


class EventBus:
    """Record events and pass them on to observers.

    Args:
        step: returns the steps done.
        relays: keep messages for process 0 instead of saying them.
        context: what each record says of this process.
    """

    def __init__(
        self,
        step: Callable[[], int],
        relays: bool = False,
        context: dict[str, Any] | None = None,
    ) -> None:
        self._step, self._relays, self._context = step, relays, dict(context or {})
        self._log: EventLog | None = None
        self._history: LossHistory | None = None
        self._logs: Path | None = None
        self._lock = threading.Lock()
        self._relayed: list[Message] = []
        self._heard: deque[tuple[str, str, str]] = deque(maxlen=_REMEMBERED)
        self._observers = Observers(self._failed)

    def configure(self, relays: bool, context: dict[str, Any]) -> None:
        """Say which process this is; see the arguments of the class."""
        self._relays, self._context = relays, dict(context)

    def open(self, logs: Path, info: RunInfo, facts: dict[str, Any]) -> None:
        """Open the session's records.

        Raises:
            ModelFolderError: they cannot be written.
        """
        try:
            self._log, self._logs = EventLog(logs), logs
            write_run_file(logs, info.session, facts)
            self._history = LossHistory(logs)
            self._history.go_back(info.start_step)
        except OSError as error:
            raise ModelFolderError(f"cannot write in {logs}: {error.strerror}") from error

    def watch(self, name: str, observer: Observer) -> None:
        """Let an observer hear of what follows; ``name`` is its add-on's."""
        self._observers.add(name, observer)

    def emit(self, event: Event) -> None:
        """Say that something happened. Safe from any thread."""
        if event.name and self._log is not None:
            facts = {"step": self._step(), **self._context, **event.facts()}
            self._log.write(event.name, **facts)
        if self._history is not None:
            if isinstance(event, MetricsRead):
                self._history.add(event.metrics.step, event.metrics.losses)
            elif isinstance(event, RolledBack):
                self._history.go_back(self._step())
        if event.method:
            self._observers.tell(event.method, *event.arguments())

    # --- lines for the user ---

    def warn(self, text: str) -> None:
        """Warn the user, in one line. Safe from any thread."""
        self.say(Message("warning", text))

    def note(self, text: str) -> None:
        """Tell the user what happened, in one line. Safe from any thread."""
        self.say(Message("note", text))

    def say(self, message: Message) -> None:
        """Say a message, or keep it for process 0; what a library repeats is said once."""
        known = (message.kind, message.source, message.text)
        with self._lock:
            # The kernel and plugins that speak to the run mean what they repeat.
            repeated = known in self._heard and bool(message.source or message.rank)
            self._heard.append(known)
            if self._relays and not repeated:
                self._relayed.append(message)
        if not self._relays and not repeated:
            self.emit(Said(message))

    def take_relayed(self) -> tuple[Message, ...]:
        """Return the messages that process 0 has not heard."""
        with self._lock:
            relayed, self._relayed = self._relayed, []
        return tuple(relayed)

    def _failed(self, line: str, error: BaseException | None) -> None:
        path = None
        if error is not None and self._logs is not None:
            path = log_error(self._logs, error)
        self.warn(line + (f" (traceback: {path})" if path else ""))

    def close(self) -> None:
        """Let observers work off what they were told."""
        self._observers.close()
