"""One checkpoint folder: what its manifest says of it, and whether its files are whole."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import attrs

from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import files

FORMAT = 1
NAME = "manifest.json"
#: What every checkpoint holds beside its manifest.
FILES = (
    "network.json",
    "weights.safetensors",
    "training.json",
    "training.safetensors",
    "state.json",
    "config.toml",
)


@attrs.frozen
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        path: of its folder.
        bytes: what it takes on disk.
        current: whether it is the one to resume from.
        time: when it was written, in Unix seconds; 0 if that is not known.
        loss: mean summed loss of the ``loss_steps`` steps before it, if known.
        loss_steps: how many steps ``loss`` covers.
        monitored: what the best ones are ranked by, smaller being better, if known.
        snapshot: whether it is kept permanently.
    """

    path: Path
    bytes: int
    current: bool
    time: float
    loss: float | None
    loss_steps: int
    monitored: float | None
    snapshot: bool

    @property
    def name(self) -> str:
        """The name of its folder, which begins with the step."""
        return self.path.name

    @property
    def step(self) -> int:
        """Steps that the model had done."""
        return step_of(self.name)


def step_of(name: str) -> int:
    """Return the step that a checkpoint of this name holds."""
    return int(name[:9])


def describe(folder: Path, current: bool) -> Checkpoint:
    """Return the record of the checkpoint in a folder; nothing is verified."""
    try:
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
    except OSError:
        size = 0  # A training run may be removing it at this moment.
    try:
        facts = files.read_json(folder / NAME)
    except (OSError, ModelFolderError):
        facts = {}
    facts = facts if isinstance(facts, dict) else {}
    loss, monitored = _finite(facts.get("loss")), _finite(facts.get("monitored"))
    return Checkpoint(
        path=folder,
        bytes=size,
        current=current,
        time=_finite(facts.get("time")) or 0.0,
        loss=loss,
        loss_steps=int(_finite(facts.get("loss_steps")) or 0),
        monitored=loss if monitored is None else monitored,
        snapshot=facts.get("snapshot") is True,
    )


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def validation_error(folder: Path, label: str) -> str | None:
    """Return the first validation error of a checkpoint folder, or None.

    Args:
        folder: of the checkpoint.
        label: what to call it in the error.
    """
    try:
        manifest = files.read_json(folder / NAME)
        listed = manifest["files"]
        if manifest["format"] != FORMAT:
            return f"{label} has format {manifest['format']}, this is {FORMAT}"
        if missing := [file for file in FILES if file not in listed]:
            return f"{label}: {missing[0]} is missing"
        for file, facts in listed.items():
            # A manifest is data from outside: its names must not lead out of the folder.
            if file != Path(file).name or not (folder / file).is_file():
                return f"{label}: {file} is missing"
            if (folder / file).stat().st_size != facts["bytes"]:
                return f"{label}: {file} has the wrong size"
            if files.sha256(folder / file) != facts["sha256"]:
                return f"{label}: {file} does not match its checksum"
    except FileNotFoundError:
        return f"{label} has no manifest"
    except OSError as error:
        return f"{label}: {error.strerror}"
    except (ModelFolderError, KeyError, TypeError, AttributeError):
        return f"{label}: its manifest cannot be read"
    return None
