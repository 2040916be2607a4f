"""Lock files, write them durably, and ask for sizes and the kind of a file system."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_NETWORKS = ("nfs", "cifs", "smb", "sshfs", "afs", "9p", "lustre", "beegfs", "ceph", "gluster")


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file against other processes, as far as the file system has locks.

    Args:
        path: of the lock file; it stays.
        waiting: called once if another process holds it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    except NotImplementedError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool | None:
    """Return whether a lock file is held; None if it is missing or the system cannot tell."""
    if not path.exists():
        return None
    try:
        with FileLock(path).acquire(blocking=False):
            return False
    except NotImplementedError:
        return None
    except (Timeout, OSError):
        return True


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder; 0 if they cannot be read."""
    with contextlib.suppress(OSError):
        if path.is_dir():
            return sum(file.stat().st_size for file in path.iterdir())
        return path.stat().st_size
    return 0


def network_kind(folder: Path) -> str | None:
    """Return the kind of network file system a folder is on; None if local or unknown."""
    place = folder.absolute()
    if sys.platform == "win32":
        import ctypes

        remote = ctypes.windll.kernel32.GetDriveTypeW(place.anchor) == 4
        return "network drive" if remote or place.anchor.startswith("\\\\") else None
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    mounts = [line.split()[1:3] for line in lines.splitlines() if len(line.split()) > 2]
    real = Path(os.path.realpath(place))
    over = [(m, kind) for m, kind in mounts if m == str(real) or Path(m) in real.parents]
    kind = max(over, key=lambda pair: len(pair[0]), default=("", ""))[1]
    return kind if any(name in kind.lower() for name in _NETWORKS) else None
