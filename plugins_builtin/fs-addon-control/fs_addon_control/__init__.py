"""Control a running session: ``fs ctl`` from anywhere, and keys on the session's own terminal."""

from __future__ import annotations

import threading

import attrs
from fs_kernel import hookimpl, option
from fs_kernel.types import Finished, Run, RunInfo

from fs_addon_control.desk import Desk
from fs_addon_control.keys import Keyboard, find_terminal
from fs_addon_control.mailbox import Answer, Command, Inbox

SECTION = "addon.control"
_PAUSE = 0.3


@attrs.frozen
class ControlOptions:
    """Options of the section ``[addon.control]``."""

    keys: bool = option(True, "Listen to keys, where 'fs run' is typed on a terminal.")
    commands: bool = option(True, "Listen to 'fs ctl'.")


class ControlAddOn:
    """The control of one run; see `fs_kernel.types.AddOn`.

    Args:
        run: the run to control.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def observers(self) -> list[Control]:
        """Return the observer that listens while the run lasts."""
        return [Control(self._run)]


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the section ``[addon.control]``."""
    return {SECTION: ControlOptions}


@hookimpl
def create_addon(run: Run) -> ControlAddOn:
    """Create the add-on of a run."""
    return ControlAddOn(run)


class Control(Desk):
    """Listen to ``fs ctl`` and to keys from the start of a run to its end.

    Args:
        run: the run to control.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        options: ControlOptions = run.config[SECTION]
        terminal = find_terminal() if options.keys else None
        self._keyboard = None if terminal is None else Keyboard(run, self, terminal)
        self._inbox = Inbox(run.info.model_dir) if options.commands else None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def on_start(self, info: RunInfo) -> None:
        """Start listening."""
        if self._keyboard is not None:
            self._keyboard.start()
        if self._inbox is not None and self._thread is None:
            try:
                self._inbox.open()
            except OSError as error:
                self._run.warn(f"fs ctl will not work: {error.filename}: {error.strerror}")
                return
            self._over.clear()
            self._thread = threading.Thread(target=self._listen, name="fs-control", daemon=True)
            self._thread.start()

    def on_finish(self, outcome: Finished) -> None:
        """Answer pending requests and stop listening."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._inbox is not None:
            self._inbox.close()
        super().on_finish(outcome)
        if self._keyboard is not None:
            self._keyboard.stop()

    def _listen(self) -> None:
        assert self._inbox is not None
        while not self._over.wait(_PAUSE):
            commands, refused = self._inbox.take()
            if refused:
                more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
                self._run.warn(f"ignored a file that is not a command: {refused[0]}{more}")
            for command in commands:
                self._obey(command)

    def _obey(self, command: Command) -> None:
        assert self._inbox is not None
        inbox = self._inbox

        def reply(answer: Answer) -> None:
            inbox.answer(command, answer)

        self.take(command.action, command.value, reply)
