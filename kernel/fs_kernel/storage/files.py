"""Write files so that a kill, a crash or a full disk at any moment damages nothing.

The rules: write beside, flush to the disk, then put into place with one atomic replacement, then
flush the folder. A reader sees the old content or the new, never part of either.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

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
    """Replace a file's content atomically and durably.

    Raises:
        OSError: it cannot be written; the old content is untouched.
    """
    # An unpredictable name that must be new: a link planted under it is never followed.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
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
        path: must not exist, not even as a link.
        chunks: bytes-like objects.

    Returns:
        The SHA-256 of ``chunks`` in hex, not of what the disk made of them.
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
    """Return data as indented ASCII JSON with a final newline; nan and inf are refused."""
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path, limit: int = 64 * 2**20) -> Any:
    """Return the content of a JSON file.

    Raises:
        FileNotFoundError: it does not exist.
        ModelFolderError: it cannot be read, is larger than ``limit`` bytes, or is not JSON.
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
        raise ModelFolderError(f"{path} is not valid JSON") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_writable(folder: Path) -> None:
    """Make a folder if it is missing and check that files can be written in it.

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


def format_bytes(count: float) -> str:
    """Return a number of bytes with three significant digits, as ``"1.31 GB"`` (powers of 1000)."""
    for power, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        # 999.5 of the smaller unit would be rounded to "1e+03".
        if abs(count) >= 0.9995 * 10**power:
            return f"{count / 10**power:.3g} {unit}"
    return f"{count:.0f} B"


def user_folder(kind: Literal["cache", "state"]) -> Path | None:
    """Return the user's folder for caches or logs, or None if the user has no home folder."""
    import platformdirs

    known = platformdirs.PlatformDirs("fs-kernel", appauthor=False, opinion=False)
    try:
        folder = known.user_cache_path if kind == "cache" else known.user_state_path
    except RuntimeError:
        return None
    # Older releases leave "~" in the path of a user without HOME and without an account.
    return folder if folder.is_absolute() else None
