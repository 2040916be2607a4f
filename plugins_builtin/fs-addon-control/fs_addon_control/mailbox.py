"""Exchange commands and answers as small files in ``MODEL_DIR/control``.

``session.json`` says which session takes commands, under a token that only it has. A command is
``<time>-<random>.command.json``, addressed to that token; its answer has the same name with
``reply``. Every file is written atomically. A file that is not a command is never acted on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import stat
import time
from pathlib import Path
from typing import Any

import attrs
from fs_kernel.storage import to_json_bytes, write_atomic

FOLDER = "control"
SESSION = "session.json"
ACTIONS = ("save", "preview", "snapshot", "stop", "mask", "set", "status")
#: Answers: taken and under way; done; failed. The first may be followed by one of the others.
ACCEPTED, DONE, FAILED = "accepted", "done", "failed"
VERSION = 1
_COMMAND = re.compile(r"\d{20}-[0-9a-f]{8}\.command\.json")
_LIMIT = 4096
_AT_ONCE = 32


@attrs.frozen
class Command:
    """A request to a session.

    Attributes:
        id: its name without an ending; later commands have larger ones.
        action: out of `ACTIONS`.
        value: what belongs to the action, "optimizer.learning_rate=1e-5" for "set".
    """

    id: str
    action: str
    value: str | None = None


@attrs.frozen
class Answer:
    """The result of a command.

    Attributes:
        state: `ACCEPTED`, `DONE` or `FAILED`.
        message: lines for the user.
        code: the exit code that fits.
        facts: the same for programs.
    """

    state: str
    message: str
    code: int = 0
    facts: dict[str, Any] = attrs.field(factory=dict)


class Inbox:
    """Take commands and answer them, in the session.

    Args:
        model_dir: its model folder.
    """

    def __init__(self, model_dir: Path) -> None:
        self._folder = model_dir / FOLDER
        self._token = secrets.token_hex(16)
        self._ignored: set[str] = set()

    def open(self) -> None:
        """Start taking commands; those to earlier sessions are removed.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(exist_ok=True)
        if self._folder.is_symlink():
            raise NotADirectoryError(20, "is a link, not a folder", str(self._folder))
        for pattern in ("*.command.json", "*.reply.json"):
            for left in self._folder.glob(pattern):
                with contextlib.suppress(OSError):
                    left.unlink()
        facts = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid()}
        write_atomic(self._folder / SESSION, to_json_bytes(facts))

    def close(self) -> None:
        """Stop taking commands."""
        with contextlib.suppress(OSError):
            (self._folder / SESSION).unlink()

    def take(self) -> tuple[list[Command], list[str]]:
        """Return the commands that came since the last call, in order, each once.

        Returns:
            The commands, and a line for each file that only looks like one.
        """
        commands: list[Command] = []
        refused: list[str] = []
        try:
            names = sorted(p.name for p in self._folder.glob("*.command.json"))
        except OSError:
            return [], []
        for name in [name for name in names if name not in self._ignored][:_AT_ONCE]:
            path = self._folder / name
            try:
                commands.append(self._read(path))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError) as error:
                refused.append(f"{name[:60]!r}: {_reason(error)}")
            try:
                path.unlink()
            except OSError:
                self._ignored.add(name)
        return commands, refused

    def _read(self, path: Path) -> Command:
        if not _COMMAND.fullmatch(path.name):
            raise ValueError("its name is not a command's")
        data = _read_object(path)
        action, value = data.get("action"), data.get("value")
        if data.get("v") != VERSION or data.get("to") != self._token:
            raise ValueError("it is not addressed to this session")
        if action not in ACTIONS or not (value is None or isinstance(value, str)):
            raise ValueError("there is no such action")
        return Command(path.name.partition(".")[0], action, value)

    def answer(self, command: Command, answer: Answer) -> None:
        """Write the answer to a command; failure, as on a full disk, is ignored."""
        data = to_json_bytes({"v": VERSION, **attrs.asdict(answer)})
        with contextlib.suppress(OSError, ValueError):
            write_atomic(self._folder / f"{command.id}.reply.json", data)


class Outbox:
    """Send commands and read their answers, outside the session.

    Args:
        model_dir: the model folder of the session.
    """

    def __init__(self, model_dir: Path) -> None:
        self._folder = model_dir / FOLDER

    def session(self) -> dict[str, Any] | None:
        """Return the session that takes commands: "token", "host", "pid"; None if none does."""
        try:
            return _read_object(self._folder / SESSION)
        except (OSError, ValueError, RecursionError):
            return None

    def send(self, token: str, action: str, value: str | None = None) -> Command:
        """Put a command into the folder and return it.

        Raises:
            OSError: it cannot be written.
        """
        command = Command(f"{time.time_ns():020d}-{secrets.token_hex(4)}", action, value)
        data = {"v": VERSION, "to": token, "action": action, "value": value}
        write_atomic(self._path(command, "command"), to_json_bytes(data))
        return command

    def answer(self, command: Command) -> Answer | None:
        """Return the newest answer, or None as long as there is none."""
        try:
            data = _read_object(self._path(command, "reply"))
            answer = Answer(
                str(data["state"]), str(data["message"]), int(data["code"]), dict(data["facts"])
            )
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return answer

    def clear(self, command: Command) -> None:
        """Remove the command, if it was not taken, and its answer."""
        for kind in ("command", "reply"):
            with contextlib.suppress(OSError):
                self._path(command, kind).unlink()

    def _path(self, command: Command, kind: str) -> Path:
        return self._folder / f"{command.id}.{kind}.json"


def _read_object(path: Path) -> dict[str, Any]:
    """Return a small JSON object from a plain file, without blocking or following links."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError("it is not a plain file")
        data = stream.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise ValueError(f"it is larger than {_LIMIT} bytes")
    read = json.loads(data)
    if not isinstance(read, dict):
        raise ValueError("it is not a JSON object")
    return read


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "it is not JSON"
    return str(error)
