"""Checkpoints of a model in its folder: written whole, verified, and never left half-written.

::

    MODEL_DIR/checkpoint.json            the pointer: names the current checkpoint
    MODEL_DIR/checkpoints/000000250/     a checkpoint
        manifest.json                    size and SHA-256 of every file below
        network.json                     the graph (fs_kernel.networks.to_json)
        weights.safetensors              weights by name (fs_kernel.networks.weights)
        training.json, .safetensors      trainer, sampler and random states (fs_kernel.storage.tree)
        state.json                       what the model remembers (fs_kernel.storage.model_state)
        config.toml                      every option of the run

A checkpoint is written in a folder of another name, flushed, renamed, and only then named by the
pointer, which is replaced atomically. Older checkpoints are deleted after the new one is current.
Loading verifies every checksum; a damaged checkpoint is reported and the newest valid one is used.
"""

from __future__ import annotations

import contextlib
import errno
import math
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs

from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import files, manifest, retention, tensors, tree
from fs_kernel.storage.manifest import Checkpoint as Checkpoint

POINTER = "checkpoint.json"
FOLDER = "checkpoints"
_TEMPORARY = ".writing-"
#: The step with nine digits, and a number if there are several of that step.
_NAME = re.compile(r"(\d{9})(?:-(.*))?", re.DOTALL)
Result = TypeVar("Result")


@attrs.define
class CheckpointData:
    """Everything a checkpoint holds, in memory. Tensors are CPU copies: training may continue."""

    step: int
    network: dict[str, Any]
    weights: dict[str, Any]
    training: Any
    state: dict[str, Any]
    config: str
    loss: float | None = None
    loss_steps: int = 0
    monitored: float | None = None
    snapshot: bool = False


class Checkpoints:
    """The checkpoints of one model folder.

    Args:
        model_dir: the model folder; need not exist to be read.
    """

    def __init__(self, model_dir: Path) -> None:
        self.model_dir = model_dir
        self._folder = model_dir / FOLDER
        self._seen: tuple[str | None, list[str]] = (None, [])

    step_of = staticmethod(manifest.step_of)

    # --- what there is ---

    def exists(self) -> bool:
        """Return whether the folder holds a model, valid or not."""
        return (self.model_dir / POINTER).exists() or bool(self._names())

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return [p.name for p in self._folder.iterdir() if _NAME.fullmatch(p.name) and p.is_dir()]

    def current_name(self) -> str | None:
        """Return the checkpoint that the pointer names; None without a readable pointer."""
        try:
            pointer = files.read_json(self.model_dir / POINTER)
        except (FileNotFoundError, ModelFolderError):
            return None
        name = pointer.get("generation") if isinstance(pointer, dict) else None
        return name if name in self._names() else None

    def checkpoints(self) -> list[Checkpoint]:
        """Return what is on disk, newest first. Nothing is verified.

        Those without a readable manifest come last.
        """
        current = self.current_name()
        found = [manifest.describe(self._folder / name, name == current) for name in self._names()]
        return sorted(found, key=lambda made: (made.time, made.name), reverse=True)

    def _newest_first(self) -> list[str]:
        return [made.name for made in self.checkpoints()]

    def validation_error(self, name: str) -> str | None:
        """Return the first validation error of a checkpoint, or None if every checksum fits."""
        return manifest.validation_error(self._folder / name, f"checkpoint {name}")

    def latest_valid(self, warn: Callable[[str], None]) -> str:
        """Return the name of the checkpoint to load: the current one, or the newest valid one.

        Args:
            warn: called with one line on the damaged checkpoints that were passed over.

        Raises:
            ModelFolderError: none is valid.
        """
        current, names = self._seen = self.current_name(), self._newest_first()
        if not names:
            raise ModelFolderError(f"{self.model_dir} holds no model")
        errors: list[str] = []
        for name in sorted(names, key=lambda name: name != current):
            error = self.validation_error(name)
            if error is None:
                break
            errors.append(error)
        if errors and self.current_name() != current:
            return self.latest_valid(warn)  # A training run has just put another in its place.
        if error is not None:
            raise ModelFolderError(f"{self.model_dir}: no checkpoint is whole: {'; '.join(errors)}")
        if errors:
            warn(f"{'; '.join(errors)}: using checkpoint {name} instead")
        return name

    def older_than(self, name: str) -> str:
        """Return the newest valid checkpoint written before ``name``; ``name`` if there is none."""
        names = self._newest_first()
        older = names[names.index(name) + 1 :] if name in names else []
        return next((other for other in older if self.validation_error(other) is None), name)

    def require_unchanged(self) -> None:
        """Check the folder against what `latest_valid` saw: another run may have ended meanwhile.

        Raises:
            ModelFolderError: it has changed.
        """
        if self._seen != (self.current_name(), self._newest_first()):
            raise ModelFolderError(f"another run has just changed {self.model_dir}; start again")

    # --- reading ---

    def read_consistently(self, read: Callable[[], Result]) -> Result:
        """Return ``read()``, called again while a training run replaces what it was reading.

        Raises:
            ModelFolderError: it cannot be read, and no run is changing it.
        """
        while True:
            before = self.current_name()
            try:
                return read()
            except (ModelFolderError, OSError):
                if self.current_name() == before:
                    raise

    def _json(self, name: str, file: str) -> Any:
        try:
            return files.read_json(self._folder / name / file)
        except FileNotFoundError:
            raise ModelFolderError(f"checkpoint {name} lacks {file}") from None

    def read_state(self, name: str) -> dict[str, Any]:
        """Return a checkpoint's ``state.json``."""
        state: dict[str, Any] = self._json(name, "state.json")
        return state

    def config_path(self, name: str) -> Path:
        """Return the path of a checkpoint's options."""
        return self._folder / name / "config.toml"

    def network_path(self, name: str) -> Path:
        """Return the path of a checkpoint's graph."""
        return self._folder / name / "network.json"

    def read_weights(self, name: str) -> dict[str, Any]:
        """Return weights by name, as CPU tensors."""
        return tensors.load(self._folder / name / "weights.safetensors")

    def read_training(self, name: str) -> Any:
        """Return the tree of trainer, sampler and random states."""
        skeleton = self._json(name, "training.json")
        found = tensors.load(self._folder / name / "training.safetensors")
        return tree.unpack(skeleton, found, f"checkpoint {name}")

    # --- writing ---

    def write(
        self, data: CheckpointData, keep: int, max_bytes: int = 0, keep_best: int = 0
    ) -> Checkpoint:
        """Write a checkpoint, make it the current one, and delete the oldest.

        Args:
            data: what to write.
            keep: checkpoints to keep, this one included. Snapshots stay and do not count.
            max_bytes: what they and the next one may take on disk together; 0 for no bound.
            keep_best: how many more to keep, of those with the lowest loss.

        Raises:
            OSError: the disk is full or failed; what was there before is untouched.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._clean()
        name = self._free_name(data.step)
        temporary = self._folder / f"{_TEMPORARY}{name}"
        temporary.mkdir()
        try:
            self._fill(temporary, data)
            temporary.rename(self._folder / name)
            files.flush_folder(self._folder)
            self.set_current(name)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            # Once the pointer names it, it counts, and what failed came after.
            if self.current_name() != name:
                shutil.rmtree(self._folder / name, ignore_errors=True)
            raise
        made = manifest.describe(self._folder / name, True)
        room = (max_bytes or math.inf) - 2 * made.bytes
        for old in retention.surplus(self.checkpoints(), keep, keep_best, room, self._damaged):
            self.delete(old)
        return made

    def _damaged(self, made: Checkpoint) -> bool:
        return self.validation_error(made.name) is not None

    def _free_name(self, step: int) -> str:
        found = [match for name in self._names() if (match := _NAME.fullmatch(name))]
        suffixes = [match[2] or "" for match in found if int(match[1]) == step]
        taken = [int(text) if text.isdecimal() else 1 for text in suffixes]
        return f"{step:09d}-{max(taken) + 1:03d}" if taken else f"{step:09d}"

    def _fill(self, folder: Path, data: CheckpointData) -> None:
        skeleton, state_tensors = data.training
        pieces = {
            "network.json": [files.to_json_bytes(data.network)],
            "state.json": [files.to_json_bytes(data.state)],
            "config.toml": [data.config.encode()],
            "training.json": [files.to_json_bytes(skeleton)],
            "weights.safetensors": tensors.chunks(data.weights),
            "training.safetensors": tensors.chunks(state_tensors),
        }
        listed = {}
        for name, chunks in pieces.items():
            digest = files.write_chunks(folder / name, chunks)
            listed[name] = {"bytes": (folder / name).stat().st_size, "sha256": digest}
        # Clocks jump back; the order of checkpoints must not.
        now = max([time.time(), *(made.time + 0.001 for made in self.checkpoints())])
        facts = {name: getattr(data, name) for name in ("loss", "loss_steps", "monitored")}
        about = {"format": manifest.FORMAT, "step": data.step, "time": now, **facts}
        about |= {"snapshot": data.snapshot, "files": listed}
        files.write_chunks(folder / manifest.NAME, [files.to_json_bytes(about)])
        files.flush_folder(folder)
        if error := manifest.validation_error(folder, f"step {data.step}"):
            raise OSError(errno.EIO, f"what was read back is not what was written ({error})")

    def set_current(self, name: str) -> None:
        """Make a checkpoint the current one."""
        pointer = {"format": manifest.FORMAT, "generation": name}
        files.write_atomic(self.model_dir / POINTER, files.to_json_bytes(pointer))

    def mark_snapshot(self, name: str) -> None:
        """Keep a checkpoint permanently.

        Raises:
            OSError: the disk is full or failed; nothing has changed.
        """
        path = self._folder / name / manifest.NAME
        files.write_atomic(path, files.to_json_bytes({**files.read_json(path), "snapshot": True}))

    def delete(self, made: Checkpoint) -> None:
        """Remove a checkpoint, as far as the disk lets us."""
        # Under this name a half-removed checkpoint is not listed, and the next save clears it.
        gone = self._folder / f"{_TEMPORARY}{made.name}"
        with contextlib.suppress(OSError):
            made.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _clean(self) -> None:
        for path in self._folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.model_dir.glob(f".{POINTER}.*"):
            path.unlink(missing_ok=True)
