"""Open a ``.keras`` file, a zip, so that nothing in it can do harm.

Only members of four known names are read, under names of our own, and none before its size was
checked against a limit. Nothing is decompressed beyond the size that the zip's directory declares.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import format_bytes

CONFIG, METADATA = "config.json", "metadata.json"
WEIGHTS, OPTIMIZER = "model.weights.h5", "optimizer.pt"
#: Largest size of each kind of JSON in bytes.
MAX_JSON = 64 * 2**20
#: Members larger than this may not be compressed by more than `MAX_RATIO`, as in a zip bomb.
_SMALL, MAX_RATIO = 64 * 2**20, 300
_CHUNK = 2**22


class Archive:
    """The members of one file. Close it, or use it as a context manager.

    Args:
        path: the file.

    Raises:
        ModelFolderError: it is not a zip, or holds members that such a file does not have.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ModelFolderError(
                f"{path} is not a readable .keras file: {_reason(error)}"
            ) from None
        try:
            self._check()
        except BaseException:
            self._zip.close()
            raise

    def _check(self) -> None:
        infos = self._zip.infolist()
        names = [info.filename for info in infos]
        for info in infos:
            name = info.filename
            if name not in (CONFIG, METADATA, WEIGHTS, OPTIMIZER):
                raise ModelFolderError(
                    f"{self.path} holds an unknown member {name[:80]!r}; refused"
                )
            if names.count(name) > 1:
                raise ModelFolderError(f"{self.path} holds {name} twice; refused")
            if info.flag_bits & 1:
                raise ModelFolderError(f"{self.path}: {name} is encrypted; refused")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ModelFolderError(f"{self.path}: {name} is packed in an unusual way; refused")
            if info.file_size > max(_SMALL, MAX_RATIO * info.compress_size):
                raise ModelFolderError(f"{self.path}: {name} unpacks to a suspicious size; refused")
        for name in (CONFIG, WEIGHTS):
            if name not in names:
                raise ModelFolderError(
                    f"{self.path} lacks {name}; it is damaged or no Keras 3 model"
                )

    def __contains__(self, name: str) -> bool:
        return name in self._zip.namelist()

    def size(self, name: str) -> int:
        """Return the unpacked size of a member in bytes, as the zip declares it."""
        return self._zip.getinfo(name).file_size

    def json(self, name: str) -> Any:
        """Return a parsed JSON member.

        Raises:
            ModelFolderError: it is too large or not JSON.
        """
        if self.size(name) > MAX_JSON:
            raise ModelFolderError(
                f"{self.path}: {name} is larger than {MAX_JSON >> 20} MiB; refused"
            )
        try:
            return json.loads(self._zip.read(name))
        except (OSError, ValueError, RecursionError, EOFError, *_DAMAGED) as error:
            raise self._damaged(name, error) from None

    def unpack(self, name: str, target: Path, limit: int) -> Path:
        """Copy a member to ``target``.

        Raises:
            ModelFolderError: it is larger than ``limit`` bytes, or damaged.
            OSError: the target cannot be written.
        """
        if self.size(name) > limit:
            raise ModelFolderError(
                f"{self.path}: {name} has {format_bytes(self.size(name))} where the network needs "
                f"{format_bytes(limit)} at most; refused"
            )
        with target.open("wb") as out:
            self._copy(name, out)
        return target

    def _copy(self, name: str, out: BinaryIO) -> None:
        try:
            source = self._zip.open(name)
        except (OSError, ValueError, *_DAMAGED) as error:
            raise self._damaged(name, error) from None
        with source:
            while True:
                try:
                    chunk = source.read(_CHUNK)
                except (EOFError, *_DAMAGED) as error:
                    raise self._damaged(name, error) from None
                if not chunk:
                    return
                out.write(chunk)

    def _damaged(self, name: str, error: BaseException) -> ModelFolderError:
        return ModelFolderError(f"{self.path}: {name} is damaged: {_reason(error)}")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()


_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError)


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0][:200]
