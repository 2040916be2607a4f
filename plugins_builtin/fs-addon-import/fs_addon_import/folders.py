"""Create folders that appear complete or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import flush_folder


@contextlib.contextmanager
def new_folder(target: Path, source_dir: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes ``target`` at the end unless an exception was raised.

    Its parent has room for what has to be unpacked; all of that is deleted in either case.

    Args:
        target: missing or empty.
        source_dir: the folder that is being read; ``target`` must not be inside it.

    Raises:
        ModelFolderError: ``target`` is not empty, is inside ``source_dir``, or cannot be written.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ModelFolderError(f"{target} exists and is not empty; name a new folder")
    if target.resolve().is_relative_to(source_dir.resolve()):
        raise ModelFolderError(f"{target} lies in {source_dir}, which stays as it is; name another")
    parent = target.resolve().parent
    while not parent.is_dir():
        parent = parent.parent
    room = None
    try:
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=parent))
        folder = room / "new"
        folder.mkdir()
        yield folder
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            target.rmdir()
        folder.rename(target)
        flush_folder(target.parent)
    except OSError as error:
        raise ModelFolderError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)
