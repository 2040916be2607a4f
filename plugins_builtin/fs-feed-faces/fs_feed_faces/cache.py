"""Cache results that are slow to compute in a folder shared by all runs.

An entry is a folder ``<name>`` with the files that its maker wrote and ``facts.json``, or a single
file. It is written under another name and renamed once it is complete and flushed, so an entry that
exists is complete. A lock of the operating system keeps two processes from making the same entry.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from fs_kernel.storage import format_bytes, user_folder

from fs_feed_faces import filesystem

#: Mark the names of incomplete and of deleted entries.
_PART, _TRASH = ".part-", ".trash-"
_FACTS = "facts.json"
#: Share of the disk that is left free.
_RESERVE = 0.02
#: Age in seconds from which incomplete entries count as abandoned, where locks do not work.
_ABANDONED = 3600


class CacheError(Exception):
    """Raised if an entry cannot be cached; the text says why, as a clause."""


@attrs.frozen
class Entry:
    """One entry of the cache.

    Attributes:
        name: of the entry, unique in the cache.
        path: of its folder or file.
        bytes: on disk.
        used: time of the last use, in Unix seconds.
        facts: metadata from its maker.
    """

    name: str
    path: Path
    bytes: int
    used: float
    facts: dict[str, Any] = attrs.field(factory=dict)


def default_folder() -> Path | None:
    """Return the folder of the user's cache, or None if the user has no home folder."""
    home = user_folder("cache")
    return home and home / "faces"


class Cache:
    """A cache in a folder, which is created when the first entry is made.

    Args:
        folder: of the cache.
        most: bytes that all entries together may take; 0 for no bound.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder
        self.most = most
        self._mine: set[str] = set()

    def find(self, name: str) -> Entry | None:
        """Return an entry and mark it as used, or None if it does not exist."""
        entry = _entry(self.folder / name)
        if entry is not None:
            self._mine.add(name)
            with contextlib.suppress(OSError):
                os.utime(entry.path)
        return entry

    def make(
        self,
        name: str,
        size: int,
        write: Callable[[Path], dict[str, Any]],
        waiting: Callable[[], None],
    ) -> Entry:
        """Return an entry, made now unless another process makes it first.

        Args:
            name: of the entry.
            size: approximate bytes it will take.
            write: fills an empty folder and returns the facts.
            waiting: called once if another process is making the same entry.

        Raises:
            CacheError: the entry cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with filesystem.locked(self.folder / f"{name}.lock", waiting):
                found = self.find(name)
                if found is not None:
                    return found
                self._clear(name)
                self._make_room(size)
                return self._write(name, write)
        except OSError as error:
            raise CacheError(f"{self.folder}: {error.strerror or error}") from None

    def put(self, name: str, content: bytes) -> None:
        """Store a file, replacing an older one.

        Raises:
            CacheError: it cannot be written.
        """
        part = self.folder / f"{name}{_PART}{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                filesystem.write_synced(part, content)
                part.replace(self.folder / name)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(f"{self.folder}: {error.strerror or error}") from None

    def entries(self) -> list[Entry]:
        """Return all entries, the least recently used first."""
        found = [_entry(path) for path in self._paths() if not _is_leftover(path)]
        return sorted((e for e in found if e is not None), key=lambda entry: entry.used)

    def collect(self, most: int | None = None) -> tuple[int, int]:
        """Remove leftovers of interrupted processes, and the least recently used beyond the bound.

        Args:
            most: bytes to keep instead of the cache's own bound.

        Returns:
            The number of removed files and folders, and their bytes.
        """
        gone = [path for path in self._paths() if _is_leftover(path) and not _in_the_making(path)]
        sizes = [size for path, size in [(p, filesystem.size_of(p)) for p in gone] if _remove(path)]
        if most is None:
            most = self.most or sys.maxsize
        sizes += [entry.bytes for entry in self._evict(most)]
        for lock in self.folder.glob("*.lock"):
            if not lock.with_suffix("").exists() and filesystem.is_held(lock) is False:
                with contextlib.suppress(OSError):
                    lock.unlink()
        return len(sizes), sum(sizes)

    def _evict(self, most: int) -> list[Entry]:
        """Remove the least recently used beyond a bound, except what this process uses."""
        entries, removed = self.entries(), []
        total = sum(entry.bytes for entry in entries)
        for entry in entries:
            if total > most and entry.name not in self._mine and _remove(entry.path):
                total -= entry.bytes
                removed.append(entry)
        return removed

    def _paths(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return [path for path in self.folder.iterdir() if path.suffix != ".lock"]
        return []

    def _clear(self, name: str) -> None:
        """Remove leftovers of an entry, whose lock is held."""
        for path in self._paths():
            if path.name == name or path.name.startswith((name + _PART, name + _TRASH)):
                _remove(path)

    def _make_room(self, size: int) -> None:
        """Remove the least recently used to make room for an entry of this size.

        Raises:
            CacheError: this process alone would exceed the bound, or the disk is full.
        """
        mine = size + sum(entry.bytes for entry in self.entries() if entry.name in self._mine)
        if 0 < self.most < mine:
            raise CacheError(
                f"{self.folder} would take {format_bytes(mine)} for this run, but may take "
                f"{format_bytes(self.most)} (feed.faces.cache_size)"
            )
        if self.most:
            self._evict(self.most - size)
        room = shutil.disk_usage(self.folder)
        if room.free - size < room.total * _RESERVE:
            raise CacheError(
                f"{self.folder} needs {format_bytes(size)}, its disk has "
                f"{format_bytes(room.free)} free; another place is named by feed.faces.cache_dir"
            )

    def _write(self, name: str, write: Callable[[Path], dict[str, Any]]) -> Entry:
        part = self.folder / f"{name}{_PART}{uuid.uuid4().hex}"
        part.mkdir()
        try:
            facts = write(part)
            facts["files"] = {path.name: path.stat().st_size for path in part.iterdir()}
            filesystem.write_synced(part / _FACTS, json.dumps(facts).encode())
            if self.find(name) is None:
                part.replace(self.folder / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        entry = self.find(name)
        if entry is None:
            raise CacheError(f"{self.folder}: what was written there is gone")
        return entry


def _entry(path: Path) -> Entry | None:
    try:
        used = path.stat().st_mtime
        if path.is_file():
            return Entry(path.name, path, path.stat().st_size, used)
        facts = json.loads((path / _FACTS).read_bytes())
        sizes = {name: (path / name).stat().st_size for name in facts["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if sizes != facts["files"]:
        return None
    return Entry(path.name, path, sum(sizes.values()), used, facts)


def _is_leftover(path: Path) -> bool:
    return _PART in path.name or _TRASH in path.name or _entry(path) is None


def _in_the_making(path: Path) -> bool:
    """Return whether a process may still be writing this leftover."""
    name = path.name.partition(_PART)[0].partition(_TRASH)[0]
    held = filesystem.is_held(path.with_name(f"{name}.lock"))
    if held is not None:
        return held
    try:
        return time.time() - path.stat().st_mtime < _ABANDONED
    except OSError:
        return True


def _remove(path: Path) -> bool:
    """Rename out of the way, then delete; return False if the system reports it as in use."""
    gone = path if _TRASH in path.name else path.with_name(path.name + _TRASH + uuid.uuid4().hex)
    try:
        if gone != path:
            path.rename(gone)
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink()
    except OSError:
        return False
    return True
