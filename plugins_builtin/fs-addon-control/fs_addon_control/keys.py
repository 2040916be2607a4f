"""Read keys on the terminal of a run, without ever delaying the run."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import Protocol

import click
from fs_kernel.types import Run

from fs_addon_control.desk import Desk, Reply
from fs_addon_control.mailbox import ACCEPTED, FAILED, Answer

KEYS = {
    "s": "save",
    "p": "preview",
    "n": "snapshot",
    "m": "mask",
    "q": "stop",
    "\r": "stop",
    "\n": "stop",
}
HELP = "keys: s save, p preview, n snapshot, m mask on or off, q or ENTER stop, ? help"
_SECONDS = 0.3


class Terminal(Protocol):
    """Where keys come from."""

    def read(self, seconds: float) -> str:
        """Return the keys typed by now, or "" if none comes within ``seconds``.

        Raises:
            EOFError: the terminal is closed.
        """

    def restore(self) -> None:
        """Leave the terminal as it was found. Safe to call more than once, from any thread."""


def find_terminal() -> Terminal | None:
    """Return the terminal of an ``fs`` command that is typed on one, else None.

    A script that uses the Python API keeps its standard input to itself.
    """
    context = click.get_current_context(silent=True)
    if context is None or context.find_root().info_name != "fs":
        return None
    # Under nohup the run outlives its terminal.
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) == signal.SIG_IGN:
        return None
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    if sys.platform == "win32":
        from fs_addon_control.windows import WindowsTerminal

        return WindowsTerminal()
    from fs_addon_control.posix import PosixTerminal

    try:
        os.tcgetpgrp(sys.stdin.fileno())
    except OSError:
        # Standard input is a terminal, but not the controlling one of this process.
        return None
    return PosixTerminal(sys.stdin.fileno())


class Keyboard:
    """A thread that turns keys into requests.

    Args:
        run: told what the keys are.
        desk: takes the requests.
        terminal: where keys come from.
    """

    def __init__(self, run: Run, desk: Desk, terminal: Terminal) -> None:
        self._run = run
        self._desk = desk
        self._terminal = terminal
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start listening."""
        if self._thread is not None:
            return
        atexit.register(self._terminal.restore)
        self._run.note(HELP)
        self._thread = threading.Thread(target=self._work, name="fs-keys", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and leave the terminal as it was."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(4 * _SECONDS)
        self._terminal.restore()
        atexit.unregister(self._terminal.restore)

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                for key in self._terminal.read(_SECONDS):
                    self._press(key)
        except (EOFError, OSError):
            # The terminal is gone; the run continues without it.
            return
        finally:
            self._terminal.restore()

    def _press(self, key: str) -> None:
        if key == "?":
            self._run.note(HELP)
        elif action := KEYS.get(key.lower()):
            self._desk.take(action, None, self._reply(action))

    def _reply(self, action: str) -> Reply:
        def reply(answer: Answer) -> None:
            if answer.state == FAILED:
                self._run.warn(answer.message)
            elif answer.state == ACCEPTED or action in ("mask", "preview"):
                self._run.note(answer.message)

        return reply
