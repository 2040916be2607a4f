"""Read single keys from a POSIX terminal, as long as the run is in its foreground.

A process in the background that touches its terminal is stopped by SIGTTIN or SIGTTOU. Both are
blocked in the thread that reads, and the terminal is only touched in the foreground: a run under
``&``, or suspended with Ctrl-Z and sent on with ``bg``, neither reads keys nor changes settings,
and reads again after ``fg``.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

#: Indices in the result of tcgetattr.
_LOCAL, _CHARACTERS = 3, 6


class PosixTerminal:
    """A terminal by its file descriptor; see `fs_addon_control.keys.Terminal`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None
        self._over = False
        self._lock = threading.Lock()

    def read(self, seconds: float) -> str:
        with _undisturbed():
            if not self._prepare():
                time.sleep(seconds)
                return ""
            if not select.select([self._descriptor], [], [], seconds)[0]:
                return ""
            if not self._in_foreground():
                return ""
            typed = os.read(self._descriptor, 64)
        if not typed:
            raise EOFError
        return typed.decode("ascii", "ignore")

    def restore(self) -> None:
        with _undisturbed(), self._lock, contextlib.suppress(OSError, termios.error):
            self._over = True
            if self._before is not None and self._in_foreground():
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)

    def _prepare(self) -> bool:
        """Switch echo and line mode off, but not signals; return False in the background."""
        with self._lock:
            if self._over:
                raise EOFError
            if not self._in_foreground():
                return False
            try:
                settings = termios.tcgetattr(self._descriptor)
                if settings[_LOCAL] & (termios.ICANON | termios.ECHO):
                    self._before = [*settings]
                    settings[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
                    settings[_CHARACTERS] = [*settings[_CHARACTERS]]
                    settings[_CHARACTERS][termios.VMIN] = 1
                    settings[_CHARACTERS][termios.VTIME] = 0
                    termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)
            except termios.error:
                raise EOFError from None
        return True

    def _in_foreground(self) -> bool:
        return os.tcgetpgrp(self._descriptor) == os.getpgrp()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the process from being stopped when this thread touches the terminal."""
    signals = {signal.SIGTTIN, signal.SIGTTOU}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
