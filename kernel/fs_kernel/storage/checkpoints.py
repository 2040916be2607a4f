"""Generations of a model in its folder: written whole, verified, and never spoiled.

::

    MODEL_DIR/checkpoint.json            the pointer: names the generation that counts
    MODEL_DIR/checkpoints/000000250/     a generation
        manifest.json                    size and SHA-256 of every file below
        network.json                     the graph (fs_kernel.networks.serialization)
        weights.safetensors              weights by name (fs_kernel.networks.weights)
        training.json, .safetensors      trainer, sampler and random states (fs_kernel.storage.tree)
        state.json                       what the model remembers (fs_kernel.storage.model_state)
        config.toml                      every option of the run

A generation is written in a folder of another name, flushed, renamed, and only then named by the
pointer, which is replaced atomically. Older generations go after the new one counts. Loading
verifies every checksum; a damaged generation is reported and the newest good one is used.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs

from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import files as store
from fs_kernel.storage import tensors, tree

POINTER = "checkpoint.json"
FOLDER = "checkpoints"
FORMAT = 1
#: Steps that a mean loss must cover to say that a generation is one of the best.
MIN_RATED = 10
_TEMPORARY = ".writing-"
Result = TypeVar("Result")
_FILES = (
    "network.json",
    "weights.safetensors",
    "training.json",
    "training.safetensors",
    "state.json",
    "config.toml",
)


@attrs.define
class Content:
    """Everything a generation holds, in memory. Tensors are CPU copies, so training may go on."""

    step: int
    network: dict[str, Any]
    weights: dict[str, Any]
    training: Any
    state: dict[str, Any]
    config: str
    loss: float | None = None
    loss_steps: int = 0
    snapshot: bool = False


@attrs.frozen
class Generation:
    """A generation on disk.

    ``loss`` is the mean summed loss of the ``loss_steps`` steps before it; a ``snapshot`` is kept
    for good.
    """

    name: str
    path: Path
    step: int
    bytes: int
    current: bool
    loss: float | None = None
    loss_steps: int = 0
    snapshot: bool = False


class Checkpoints:
    """The generations of one model folder.

    Args:
        model_dir: the model folder; need not exist to be read.
    """

    def __init__(self, model_dir: Path) -> None:
        self.model_dir = model_dir
        self._folder = model_dir / FOLDER
        self._seen: tuple[str | None, list[str]] = (None, [])

    # --- reading ---

    def exists(self) -> bool:
        """Whether the folder holds a model, whole or not."""
        return (self.model_dir / POINTER).exists() or bool(self._names())

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        names = [p.name for p in self._folder.iterdir() if p.is_dir()]
        return sorted(n for n in names if n[:9].isdecimal() and n[9:10] in ("", "-"))

    def current_name(self) -> str | None:
        """The generation the pointer names; None if there is no readable pointer."""
        try:
            pointer = store.read_json(self.model_dir / POINTER)
        except (FileNotFoundError, ModelFolderError):
            return None
        name = pointer.get("generation") if isinstance(pointer, dict) else None
        return name if name in self._names() else None

    def _newest_first(self) -> list[str]:
        """By the time in the manifest; those without a readable one last."""
        return sorted(self._names(), key=lambda name: (self._written(name), name), reverse=True)

    def _manifest(self, name: str) -> dict[str, Any]:
        try:
            manifest = store.read_json(self._folder / name / "manifest.json")
        except (OSError, ModelFolderError):
            return {}
        return manifest if isinstance(manifest, dict) else {}

    def _written(self, name: str) -> float:
        return _finite(self._manifest(name).get("time")) or 0.0

    @staticmethod
    def step_of(name: str) -> int:
        """The step that a generation of this name holds."""
        return int(name[:9])

    def generations(self) -> list[Generation]:
        """What is on disk, newest first. Nothing is verified."""
        current = self.current_name()
        return [self._generation(name, name == current) for name in self._newest_first()]

    def _generation(self, name: str, current: bool = True) -> Generation:
        size = 0
        # A training run may be removing it at this moment.
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder / name):
                size += entry.stat().st_size
        manifest = self._manifest(name)
        return Generation(
            name,
            self._folder / name,
            self.step_of(name),
            size,
            current,
            _finite(manifest.get("loss")),
            int(_finite(manifest.get("loss_steps")) or 0),
            manifest.get("snapshot") is True,
        )

    def problem(self, name: str) -> str | None:
        """What is wrong with a generation, in one line, or None if every checksum fits."""
        return _problem(self._folder / name, f"generation {name}")

    def choose(self, warn: Callable[[str], None]) -> str:
        """The generation to load: the one that counts, or the newest good one.

        Args:
            warn: told about every damaged generation that was passed over.

        Raises:
            ModelFolderError: none is good.
        """
        names = self._newest_first()
        if not names:
            raise ModelFolderError(f"{self.model_dir} holds no model")
        current = self.current_name()
        self._seen = (current, names)
        others = [name for name in names if name != current]
        problems: list[str] = []
        for name in [current, *others] if current else others:
            problem = self.problem(name)
            if problem is None:
                break
            problems.append(problem)
        if problems and self.current_name() != current:
            return self.choose(warn)  # A training run has just put another in its place.
        if problem is None:
            if problems:
                warn(f"{'; '.join(problems)}: using generation {name} instead")
            return name
        raise ModelFolderError(f"{self.model_dir}: no generation is whole: {'; '.join(problems)}")

    def older_than(self, name: str) -> str:
        """The newest whole generation that was written before ``name``, or ``name`` if none was."""
        names = self._newest_first()
        older = names[names.index(name) + 1 :] if name in names else []
        return next((other for other in older if self.problem(other) is None), name)

    def require_unchanged(self) -> None:
        """Hold the folder against what `choose` saw: another run may have ended meanwhile.

        Raises:
            ModelFolderError: it has changed.
        """
        if self._seen != (self.current_name(), self._newest_first()):
            raise ModelFolderError(f"another run has just changed {self.model_dir}; start again")

    def steadily(self, read: Callable[[], Result]) -> Result:
        """What ``read`` gives, read anew as often as a training run replaced what it was reading.

        Raises:
            ModelFolderError: it cannot be read, and nobody is at work on it.
        """
        while True:
            before = self.current_name()
            try:
                return read()
            except (ModelFolderError, OSError):
                if self.current_name() == before:
                    raise

    def read_state(self, name: str) -> dict[str, Any]:
        """A generation's ``state.json``."""
        state: dict[str, Any] = self._json(name, "state.json")
        return state

    def _json(self, name: str, file: str) -> Any:
        try:
            return store.read_json(self._folder / name / file)
        except FileNotFoundError:
            raise ModelFolderError(f"generation {name} lacks {file}") from None

    def config_path(self, name: str) -> Path:
        """Where a generation's options are."""
        return self._folder / name / "config.toml"

    def network_path(self, name: str) -> Path:
        """Where a generation's graph is."""
        return self._folder / name / "network.json"

    def read_weights(self, name: str) -> dict[str, Any]:
        """Weights by name, as CPU tensors."""
        return tensors.load(self._folder / name / "weights.safetensors")

    def read_training(self, name: str) -> Any:
        """The tree of trainer, sampler and random states."""
        skeleton = self._json(name, "training.json")
        found = tensors.load(self._folder / name / "training.safetensors")
        return tree.unpack(skeleton, found, f"generation {name}")

    # --- writing ---

    def write(
        self, content: Content, keep: int, max_bytes: int = 0, keep_best: int = 0
    ) -> Generation:
        """Write a generation, make it the one that counts, and drop the oldest.

        Args:
            content: what to write.
            keep: generations to keep, this one included. Snapshots stay and do not count.
            max_bytes: what they and the next one may take on disk together; 0 for no bound.
            keep_best: how many more to keep, of those with the lowest loss.

        Raises:
            OSError: the disk is full or failed; what was there before is untouched.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._clean()
        name = self._free_name(content.step)
        temporary = self._folder / f"{_TEMPORARY}{name}"
        temporary.mkdir()
        try:
            self._fill(temporary, content)
            temporary.rename(self._folder / name)
            store.flush_folder(self._folder)
            self.point_to(name)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            if self.current_name() != name:
                shutil.rmtree(self._folder / name, ignore_errors=True)
            raise
        made = self._generation(name)
        self._drop_old(keep, keep_best, (max_bytes or math.inf) - 2 * made.bytes)
        return made

    def mark_snapshot(self, name: str) -> None:
        """Keep a generation for good.

        Raises:
            OSError: the disk is full or failed; nothing has changed.
        """
        path = self._folder / name / "manifest.json"
        manifest = {**store.read_json(path), "snapshot": True}
        store.replace_bytes(path, store.to_json_bytes(manifest))

    def point_to(self, name: str) -> None:
        """Make a generation the one that counts."""
        pointer = {"format": FORMAT, "generation": name}
        store.replace_bytes(self.model_dir / POINTER, store.to_json_bytes(pointer))

    def _free_name(self, step: int) -> str:
        base = f"{step:09d}"
        suffixes = [name[10:] for name in self._names() if name[:9] == base]
        taken = [int(text) if text.isdecimal() else 1 for text in suffixes]
        return base if not taken else f"{base}-{max(taken) + 1:03d}"

    def _fill(self, folder: Path, content: Content) -> None:
        skeleton, state_tensors = content.training
        pieces = {
            "network.json": [store.to_json_bytes(content.network)],
            "state.json": [store.to_json_bytes(content.state)],
            "config.toml": [content.config.encode()],
            "training.json": [store.to_json_bytes(skeleton)],
            "weights.safetensors": tensors.chunks(content.weights),
            "training.safetensors": tensors.chunks(state_tensors),
        }
        files = {}
        for name, chunks in pieces.items():
            digest = store.write_chunks(folder / name, chunks)
            files[name] = {"bytes": (folder / name).stat().st_size, "sha256": digest}
        # Clocks jump back; the order of generations must not.
        now = max([time.time(), *(self._written(name) + 0.001 for name in self._names())])
        manifest = {
            "format": FORMAT,
            "step": content.step,
            "time": now,
            "loss": content.loss,
            "loss_steps": content.loss_steps,
            "snapshot": content.snapshot,
            "files": files,
        }
        store.write_chunks(folder / "manifest.json", [store.to_json_bytes(manifest)])
        store.flush_folder(folder)
        if problem := _problem(folder, f"step {content.step}"):
            raise OSError(errno.EIO, f"what was read back is not what was written ({problem})")

    def _clean(self) -> None:
        for path in self._folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.model_dir.glob(f".{POINTER}.*"):
            path.unlink(missing_ok=True)

    def _drop_old(self, keep: int, keep_best: int, room: float) -> None:
        """Drop what is neither among the newest, nor the best, nor a snapshot; or has no room."""
        others = [made for made in self.generations() if not made.current]
        if len(others) >= keep:
            # A damaged one is no backup, however new it is.
            others.sort(key=lambda made: self.problem(made.name) is not None)
        kept = {made.name for made in others[: keep - 1]}
        rated = [m for m in others if m.loss is not None and m.loss_steps >= MIN_RATED]
        rated.sort(key=lambda made: made.loss or 0.0)
        kept |= {made.name for made in rated[:keep_best]}
        for made in sorted(others, key=lambda made: not made.snapshot):
            if made.snapshot or (made.name in kept and made.bytes <= room):
                room -= made.bytes
            else:
                self.drop(made)

    def drop(self, made: Generation) -> None:
        """Remove a generation, as far as the disk lets us."""
        # Under this name a half-removed generation is none, and the next save clears it.
        gone = self._folder / f"{_TEMPORARY}{made.name}"
        with contextlib.suppress(OSError):
            made.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def _finite(value: Any) -> float | None:
    """A manifest's number; None if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _problem(path: Path, label: str) -> str | None:
    try:
        manifest = store.read_json(path / "manifest.json")
        files = manifest["files"]
        if manifest["format"] != FORMAT:
            return f"{label} has format {manifest['format']}, this is {FORMAT}"
        if missing := [file for file in _FILES if file not in files]:
            return f"{label}: {missing[0]} is missing"
        for file, facts in files.items():
            if file != Path(file).name or not (path / file).is_file():
                return f"{label}: {file} is missing"
            if (path / file).stat().st_size != facts["bytes"]:
                return f"{label}: {file} has the wrong size"
            if store.sha256(path / file) != facts["sha256"]:
                return f"{label}: {file} does not match its checksum"
    except FileNotFoundError:
        return f"{label} has no manifest"
    except OSError as error:
        return f"{label}: {error.strerror}"
    except (ModelFolderError, KeyError, TypeError, AttributeError):
        return f"{label}: its manifest cannot be read"
    return None
