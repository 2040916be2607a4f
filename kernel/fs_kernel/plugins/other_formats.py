"""Model folders that are not ours: recognised, and named with the command that adopts them.

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
    """The checkpoints of a folder that must hold a model of ours.

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
    """Nothing, unless ``path`` is or holds another program's model.

    Raises:
        ModelFolderError: it is or does, with the command that adopts it.
    """
    for pattern, command in discovery.formats().items():
        found = [path] if path.is_file() and path.match(pattern) else path.glob(pattern)
        if name := next((file.name for file in found if file.is_file()), None):
            line = ["fs", command, str(path), str(_free(path))]
            joined = subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)
            missing = "" if _installed(command) else f"pip install {_package(command)}, then "
            raise ModelFolderError(
                f"{path} holds another program's model ({name}); adopt it with: {missing}{joined}"
            )


def _free(path: Path) -> Path:
    """A name beside ``path`` that nothing has yet."""
    path = path.resolve()
    base = path.parent if path.is_file() else path
    count, free = 1, base.with_name(f"{base.name}-fs")
    while free.exists():
        count += 1
        free = base.with_name(f"{base.name}-fs{count}")
    return free


def _installed(command: str) -> bool:
    return any(found.name == command for found in discovery.installed("commands"))


def _package(command: str) -> str | None:
    return discovery.published("commands", command)
