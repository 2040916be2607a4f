"""A disk that forgets: what may be left of a save when the power goes.

`Recorder` notes every change that a save makes to a folder. `Recorder.crash` then makes the folder
as a power cut after any of those changes may have left it. What was flushed is there; of everything
else, each change by itself has reached the disk, or not, or (a write) in part:

- the content of a file is safe once ``fsync`` was called on it; before, each written piece may be
  whole, cut, zeros, or missing with later ones present;
- a name in a folder (made, renamed, removed) is safe once ``fsync`` was called on that folder;
  before, names change in any order, and a rename happens whole or not at all.

Journalling file systems promise more than that: what survives here survives there.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest


@attrs.define
class Node:
    """A file has pieces, a folder has names that stand for the numbers of other nodes."""

    pieces: list[bytes] | None = None
    names: dict[str, int] = attrs.field(factory=dict)


@attrs.frozen
class Change:
    """``what`` is "write", "link", "move", "unlink", or "flush", done to node number ``node``."""

    what: str
    node: int
    facts: tuple[Any, ...] = ()

    def apply(self, nodes: list[Node], tear: Callable[[bytes], bytes] = lambda data: data) -> None:
        node = nodes[self.node]
        if self.what == "write":
            place, data = self.facts
            node.pieces += [b""] * (place + 1 - len(node.pieces))
            node.pieces[place] = tear(data)
        elif self.what == "link":
            name, child = self.facts
            node.names[name] = child
        elif self.what == "move":
            old, new, child = self.facts
            node.names.pop(old, None)
            node.names[new] = child
        elif self.what == "unlink":
            node.names.pop(*self.facts, None)


class Recorder:
    """Notes the changes that ``save`` makes to ``root``.

    Args:
        root: the folder as it is before.
        save: changes it, through pathlib, `os` and `shutil`.
    """

    def __init__(self, root: Path, save: Callable[[], object]) -> None:
        self._root = root
        self._nodes: list[Node] = []
        self._top = self._read(root)
        self._before = copy.deepcopy(self._nodes)
        self.log: list[Change] = []
        self._open: dict[int, int] = {}
        with self._recording():
            save()

    def _read(self, path: Path) -> int:
        number = len(self._nodes)
        self._nodes.append(Node() if path.is_dir() else Node([path.read_bytes()]))
        if path.is_dir():
            self._nodes[number].names = {p.name: self._read(p) for p in path.iterdir()}
        return number

    def _number(self, path: Path) -> int:
        number = self._top
        for part in path.relative_to(self._root).parts:
            number = self._nodes[number].names[part]
        return number

    def _note(self, what: str, node: int, *facts: Any) -> None:
        self.log.append(Change(what, node, facts))
        self.log[-1].apply(self._nodes)

    def _make(self, path: Path, node: Node) -> int:
        self._nodes.append(node)
        self._before.append(copy.deepcopy(node))
        number = len(self._nodes) - 1
        self._note("link", self._number(path.parent), path.name, number)
        return number

    def _inside(self, path: Any) -> bool:
        return isinstance(path, Path) and path.is_relative_to(self._root)

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Note every change that the code inside makes with pathlib, os and shutil."""
        plain = {n: getattr(Path, n) for n in ("open", "mkdir", "rename", "replace", "unlink")}
        fsync, open_number, rmtree = os.fsync, os.open, shutil.rmtree

        def path_open(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            stream = plain["open"](path, mode, *rest, **more)
            if not (self._inside(path) and set(mode) & set("xwa+")):
                return stream
            assert mode == "xb", "files are only ever made new"
            number = self._open[stream.fileno()] = self._make(path, Node([]))
            return _Stream(stream, lambda place, data: self._note("write", number, place, data))

        def mkdir(path: Path, *rest: Any, **more: Any) -> None:
            new = self._inside(path) and not path.exists()
            plain["mkdir"](path, *rest, **more)
            if new:
                self._make(path, Node())

        def mover(name: str) -> Callable[[Path, Path], Path]:
            def move(path: Path, target: Path) -> Path:
                plain[name](path, target)
                assert path.parent == target.parent, "a move between folders is not modelled"
                folder = self._number(path.parent)
                self._note("move", folder, path.name, target.name, self._number(path))
                return target

            return move

        def unlink(path: Path, missing_ok: bool = False) -> None:
            there = path.exists()
            plain["unlink"](path, missing_ok)
            if there:
                self._note("unlink", self._number(path.parent), path.name)

        def remove_tree(path: Path, ignore_errors: bool = False) -> None:
            for child in path.iterdir() if path.is_dir() else ():
                child.unlink()
            rmtree(path, ignore_errors)
            if path.name in self._nodes[self._number(path.parent)].names:
                self._note("unlink", self._number(path.parent), path.name)

        def numbered(path: Any, *rest: Any, **more: Any) -> int:
            opened = open_number(path, *rest, **more)
            if self._inside(path) and path.is_dir():
                self._open[opened] = self._number(path)
            return opened

        def flush(opened: int) -> None:
            fsync(opened)
            self._note("flush", self._open[opened])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "open", path_open)
            patch.setattr(Path, "mkdir", mkdir)
            patch.setattr(Path, "rename", mover("rename"))
            patch.setattr(Path, "replace", mover("replace"))
            patch.setattr(Path, "unlink", unlink)
            patch.setattr(shutil, "rmtree", remove_tree)
            patch.setattr(os, "open", numbered)
            patch.setattr(os, "fsync", flush)
            yield

    def crash(self, after: int, chance: random.Random, path: Path) -> None:
        """Make the folder that a power cut may have left.

        Args:
            after: how many changes had been made.
            chance: decides what of the unflushed changes is there.
            path: where; must not exist.
        """
        nodes, done, keep = copy.deepcopy(self._before), self.log[:after], chance.random()
        for place, change in enumerate(done):
            flushes = (c for c in done[place:] if c.what == "flush" and c.node == change.node)
            if next(flushes, None) is not None:
                change.apply(nodes)
            elif chance.random() < keep:
                change.apply(nodes, lambda data: _torn(data, chance))
        self._write(nodes, self._top, path)

    def _write(self, nodes: list[Node], number: int, path: Path) -> None:
        node = nodes[number]
        if node.pieces is not None:
            path.write_bytes(b"".join(node.pieces))
            return
        path.mkdir()
        for name, child in node.names.items():
            self._write(nodes, child, path / name)


class _Stream:
    """An open file that tells of every write."""

    def __init__(self, stream: Any, tell: Callable[[int, bytes], None]) -> None:
        self._stream, self._tell, self._count = stream, tell, 0

    def write(self, data: Any) -> int:
        self._tell(self._count, bytes(data))
        self._count += 1
        return int(self._stream.write(data))

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _torn(data: bytes, chance: random.Random) -> bytes:
    cut = chance.randrange(len(data) + 1)
    zeros = bytes(len(data) - cut)
    return chance.choice([data, data, data[:cut], data[:cut] + zeros, bytes(cut) + data[cut:]])
