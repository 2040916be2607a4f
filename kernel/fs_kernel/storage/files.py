"""Writing files so that a kill, a crash or a full disk at any moment spoils nothing.

The rules: write beside, flush to the disk, then put into place with one atomic replacement, then
flush the folder. A reader sees the old content or the new, never part of either.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fs_kernel.errors import ModelFolderError


def flush_folder(path: Path) -> None:
    """Flush a folder's entries to disk, where the platform can (Windows cannot)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES):
            raise
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file's content atomically and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        write_chunks(temporary, [data])
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    flush_folder(path.parent)


def write_chunks(path: Path, chunks: Iterable[Any]) -> str:
    """Write a new file piece by piece and flush it.

    Args:
        path: must not exist; its folder does not count yet.
        chunks: bytes-like objects.

    Returns:
        The SHA-256 of what was handed over, in hex, whatever the disk made of it.
    """
    digest = hashlib.sha256()
    with path.open("xb") as stream:
        for chunk in chunks:
            digest.update(chunk)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def to_json_bytes(data: Any) -> bytes:
    """Data as the JSON of our files."""
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path, limit: int = 64 * 2**20) -> Any:
    """Read a JSON file of ours.

    Raises:
        FileNotFoundError: there is none.
        ModelFolderError: it cannot be read, is larger than ``limit`` bytes, or is no JSON.
    """
    try:
        if path.stat().st_size > limit:
            raise ModelFolderError(f"{path} is larger than {limit >> 20} MiB; refused")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelFolderError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ModelFolderError(f"{path} is no valid JSON") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_writable(folder: Path) -> None:
    """Make a folder if need be and prove that files can be written in it.

    Raises:
        ModelFolderError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flush_folder(folder.parent)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except FileExistsError:
        raise ModelFolderError(f"{folder} is a file; a model needs a folder") from None
    except OSError as error:
        raise ModelFolderError(f"cannot write in {folder}: {error.strerror}") from None
