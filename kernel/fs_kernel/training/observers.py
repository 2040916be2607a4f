"""Pass events on to observers, without letting any of them touch the run.

Each observer has a thread and a queue of its own, so that a slow one delays nothing. One that
raises is switched off with one warning. When the queue of a slow observer is full, metrics are
dropped for it; everything else is kept.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

_CLOSE_SECONDS = 10.0
_MAX_WAITING = 64


class _Watcher:
    def __init__(
        self, name: str, observer: Any, warn: Callable[[str, BaseException | None], None]
    ) -> None:
        self.name = name
        self._observer = observer
        self._warn = warn
        self._off = False
        self._queue: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"fs-observer-{name}", daemon=True)
        self._thread.start()

    def tell(self, event: str, arguments: tuple[Any, ...]) -> None:
        late = event == "on_metrics" and self._queue.qsize() >= _MAX_WAITING
        if not self._off and not late:
            self._queue.put((event, arguments))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            event, arguments = item
            try:
                if (method := getattr(self._observer, event, None)) is not None:
                    method(*arguments)
            except BaseException as error:
                self._off = True
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
                self._warn(
                    f"add-on '{self.name}' failed in {event} and is switched off: {reason}", error
                )
                return

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            line = f"add-on '{self.name}' did not finish in {_CLOSE_SECONDS:.0f} s; left behind"
            self._warn(line, None)


class Observers:
    """Fan events out to observers.

    Args:
        warn: called, from any thread, with a line about an observer that was switched off or left
            behind, and with what it raised.
    """

    def __init__(self, warn: Callable[[str, BaseException | None], None]) -> None:
        self._warn = warn
        self._watchers: list[_Watcher] = []

    def add(self, name: str, observer: Any) -> None:
        """Add an observer; ``name`` is the add-on it belongs to."""
        self._watchers.append(_Watcher(name, observer, self._warn))

    def tell(self, event: str, *arguments: Any) -> None:
        """Queue one event ("on_metrics", ...) for every observer that has a method for it."""
        for watcher in self._watchers:
            watcher.tell(event, arguments)

    def close(self) -> None:
        """Wait, for a few seconds at most, until each has worked off its queue."""
        for watcher in self._watchers:
            watcher.close()
        self._watchers = []
