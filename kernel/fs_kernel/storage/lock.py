"""Lock a model folder: one writer, any number of readers.

The operating system holds the lock (through filelock) and releases it when the process dies,
however it dies. On file systems shared between machines the lock may not reach the others, so the
holder also writes its name and a sign of life into the file, and a fresh sign from another machine
counts as a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from fs_kernel.errors import ModelFolderError

NAME = ".lock"
_BEAT_SECONDS = 20.0
_STALE_SECONDS = 120.0


class FolderLock:
    """The lock of a model folder, taken when it is made.

    Args:
        folder: an existing, writable model folder.
        group: the name of the processes that share a run. A lock that they left behind on another
            machine is theirs to take.

    Raises:
        ModelFolderError: another process, here or elsewhere, is using the folder.
    """

    def __init__(self, folder: Path, group: str = "") -> None:
        self._path = folder / NAME
        try:
            self._stream = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise ModelFolderError(f"cannot lock {folder}: {error.strerror}") from None
        owner = _owner(self._stream)
        ours = bool(group) and owner.get("group") == group
        if not _try_lock(self._stream) or (not ours and _is_alive_elsewhere(owner, self._path)):
            self._stream.close()
            who = f"process {owner.get('pid')} on {owner.get('host')}" if owner else "another run"
            raise ModelFolderError(
                f"{folder} is in use by {who}; stop that run first (fs swap and fs model may read)"
            )
        self._note = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        self._note |= {"group": group} if group else {}
        self._write(self._note)
        self._guard, self._released = threading.Lock(), threading.Event()
        threading.Thread(target=self._live, name="fs-lock", daemon=True).start()

    def _live(self) -> None:
        while not self._released.wait(_BEAT_SECONDS):
            self.beat()

    def _write(self, owner: dict[str, Any]) -> None:
        # The note only informs others, so a full disk must not stop a run.
        with contextlib.suppress(OSError):
            self._stream.seek(0)
            self._stream.truncate()
            self._stream.write(json.dumps(owner))
            self._stream.flush()

    def beat(self) -> None:
        """Leave a sign of life, in a new file if the old one was removed.

        A thread calls this as long as the lock is held, since a step may take minutes.
        """
        with self._guard, contextlib.suppress(OSError):
            if self._released.is_set():
                return
            here = self._path.stat() if self._path.exists() else None
            if here is None or not os.path.samestat(here, os.fstat(self._stream.fileno())):
                stream = self._path.open("a+", encoding="utf-8")
                if not _try_lock(stream):
                    stream.close()
                    return
                self._stream.close()
                self._stream = stream
                self._write(self._note)
            os.utime(self._stream.fileno() if os.utime in os.supports_fd else self._path)

    def release(self) -> None:
        """Release the lock. Safe to call more than once."""
        with self._guard:
            self._released.set()
            if not self._stream.closed:
                self._write({})
                with contextlib.suppress(OSError):
                    self._stream.close()


def holder(folder: Path) -> dict[str, Any] | None:
    """Return which process is using a model folder.

    Returns:
        "host", "pid" and "since" (Unix seconds), as far as they can be read; None if it is free.

    Raises:
        ModelFolderError: the lock cannot be read.
    """
    path = folder / NAME
    try:
        with path.open("r+", encoding="utf-8") as stream:
            owner = _owner(stream)
            # Where a locked file can be read, an empty note means a released lock.
            if not owner and os.name != "nt":
                return None
            held = _is_alive_elsewhere(owner, path) or not _try_lock(stream)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFolderError(f"cannot read {path}: {error.strerror}") from None
    return owner if held else None


def _owner(stream: Any) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError, OSError):
        stream.seek(0)
        owner = json.loads(stream.read(4096) or "{}")
        return owner if isinstance(owner, dict) else {}
    return {}


def _is_alive_elsewhere(owner: dict[str, Any], path: Path) -> bool:
    elsewhere = owner.get("host") not in (None, socket.gethostname())
    return elsewhere and abs(time.time() - path.stat().st_mtime) < _STALE_SECONDS


def _try_lock(stream: Any) -> bool:
    try:
        return lock_descriptor(stream.fileno(), blocking=False)
    except OSError:
        return True  # A file system without locks: only the sign of life protects the folder.
