"""Model folders that are not ours: recognized, and named with the command that adopts them.

Which files are another program's, and which command reads them, is data (``index.json``); the
kernel knows no format.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from fs_kernel.errors import ModelFolderError
from fs_kernel.plugins import discovery
from fs_kernel.storage.checkpoints import Checkpoints


def require_model(folder: Path) -> Checkpoints:
    """Return the checkpoints of a folder that must hold a model of ours.

    Raises:
        ModelFolderError: it holds none; where it holds another program's, with the command that
            adopts that.
    """
    checkpoints = Checkpoints(folder)
    if not checkpoints.exists():
        refuse_other_format(folder)
        raise ModelFolderError(f"{folder} holds no model")
    return checkpoints


def refuse_other_format(path: Path) -> None:
    """Return, unless ``path`` is or holds another program's model.

    Raises:
        ModelFolderError: it is or does, with the command that adopts it.
    """
    for pattern, command in discovery.formats().items():
        found = [path] if path.is_file() and path.match(pattern) else path.glob(pattern)
        if name := next((file.name for file in found if file.is_file()), None):
            line = ["fs", command, str(path), str(_free_name(path.resolve()))]
            joined = subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)
            if all(item.name != command for item in discovery.installed("commands")):
                joined = f"pip install {discovery.published('commands', command)}, then {joined}"
            raise ModelFolderError(
                f"{path} holds another program's model ({name}); adopt it with: {joined}"
            )


def _free_name(path: Path) -> Path:
    base = path.parent if path.is_file() else path
    names = (base.with_name(f"{base.name}-fs{number}") for number in ("", *range(2, 10_000)))
    return next(name for name in names if not name.exists())
