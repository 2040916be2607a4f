"""The files of a checkpoint folder, and the manifest with their sizes and checksums."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

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


def read(folder: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint folder; empty if it cannot be read."""
    try:
        manifest = files.read_json(folder / NAME)
    except (OSError, ModelFolderError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def finite(value: Any) -> float | None:
    """Return a manifest's number, or None if it is not a finite one."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def timestamp(folder: Path) -> float:
    """Return when a checkpoint was written, in Unix seconds; 0 if its manifest does not say."""
    return finite(read(folder).get("time")) or 0.0


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
