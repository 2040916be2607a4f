"""Room on the disk for the checkpoints of a run."""

from __future__ import annotations

import math
import shutil

from fs_kernel.errors import ConfigError, ModelFolderError
from fs_kernel.storage import format_bytes
from fs_kernel.storage.files import require_writable
from fs_kernel.training.resolve import ResolvedRun


def disk_bytes(resolved: ResolvedRun, parameters: int) -> int:
    """Return what checkpoints will take: the kept ones, and one more while it is written.

    A checkpoint's size is that of the last one, or for a new model the weights and two moments of
    four bytes each.

    Raises:
        ConfigError: ``save.max_disk`` has no room for two.
    """
    save = resolved.options.config["save"]
    size = max((c.bytes for c in resolved.checkpoints.checkpoints()), default=parameters * 4 * 3)
    limit = save.max_disk.bytes or math.inf
    if 2 * size > limit:
        raise ConfigError(
            f"save.max_disk is {format_bytes(int(limit))}, too small for a checkpoint of about "
            f"{format_bytes(size)} and another one while it is written; "
            f"it takes {format_bytes(2 * size)}"
        )
    return int(min((save.keep + save.keep_best + 1) * size, limit))


def require_space(resolved: ResolvedRun, needed: int) -> None:
    """Make the model folder, prove it is writable and that its checkpoints will fit.

    Raises:
        ModelFolderError: it is read-only, or the disk is too small.
    """
    require_writable(resolved.checkpoints.model_dir)
    require_room(resolved, needed)


def require_room(resolved: ResolvedRun, needed: int) -> int:
    """Return the bytes that are free where the model folder is, or will be. Nothing is written.

    Args:
        resolved: the run.
        needed: what its checkpoints will take in all.

    Raises:
        ModelFolderError: the disk is too small.
    """
    folder = resolved.checkpoints.model_dir
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    missing = needed - sum(c.bytes for c in resolved.checkpoints.checkpoints())
    free = shutil.disk_usage(there).free
    if free < missing:
        raise ModelFolderError(
            f"{folder}: saving needs about {format_bytes(missing)} more, "
            f"the disk has {format_bytes(free)} free"
        )
    return free
