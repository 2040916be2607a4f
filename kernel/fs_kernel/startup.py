"""What a run checks and records once it is known what it will be."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from typing import Any

import attrs

from fs_kernel import backend, store
from fs_kernel.assembly import Assembled
from fs_kernel.config import Config
from fs_kernel.errors import ModelFolderError
from fs_kernel.types import RunInfo


def require_space(parts: Assembled, info: RunInfo, keep: int) -> None:
    """Make the model folder, prove it is writable and that its generations will fit.

    A generation's size is that of the last one, or for a new model the weights and two moments of
    four bytes each. One more than ``keep`` is on disk while a save runs.

    Raises:
        ModelFolderError: it is read-only, or the disk is too small.
    """
    store.require_writable(info.model_dir)
    generations = parts.checkpoints.generations()
    size = generations[0].bytes if generations else info.parameters * 4 * 3
    needed = (keep + 1) * size - sum(generation.bytes for generation in generations)
    free = shutil.disk_usage(info.model_dir).free
    if free < needed:
        raise ModelFolderError(
            f"{info.model_dir}: saving needs about {needed / 1e9:.1f} GB more, "
            f"the disk has {free / 1e9:.1f} GB free"
        )


def run_facts(parts: Assembled, info: RunInfo, config: Config, fingerprint: str) -> dict[str, Any]:
    """What ``run.json`` says of a session."""
    facts = attrs.asdict(info)
    facts["model_dir"] = str(info.model_dir)
    return {
        "format": 1,
        "started": time.time(),
        "command": sys.argv,
        **facts,
        "faces_fingerprint": fingerprint,
        "options": config.as_dict(),
        "origins": config.origins,
        "plugins": [{"kind": i.kind, **i.identity()} for i in parts.plugins.chosen],
        "libraries": {
            "python": platform.python_version(),
            "torch": backend.torch().__version__,
            "keras": backend.keras().__version__,
        },
        "platform": platform.platform(),
    }
