"""Model folders and their files: checkpoints, state, lock, history of losses, atomic writes.

The names below are public. Each is imported when it is first asked for, so that a command which
only writes a file does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_kernel._lazy import lazy_exports

if TYPE_CHECKING:
    from fs_kernel.storage.checkpoints import Checkpoint, CheckpointData, Checkpoints
    from fs_kernel.storage.files import (
        flush_folder,
        format_bytes,
        read_json,
        require_writable,
        sha256,
        to_json_bytes,
        user_folder,
        write_atomic,
    )
    from fs_kernel.storage.history import LossHistory, read_history
    from fs_kernel.storage.lock import FolderLock, holder
    from fs_kernel.storage.model_state import ModelState, SessionRecord
    from fs_kernel.storage.tree import pack, unpack
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "checkpoints": ("Checkpoint", "CheckpointData", "Checkpoints"),
            "files": (
                "flush_folder",
                "format_bytes",
                "read_json",
                "require_writable",
                "sha256",
                "to_json_bytes",
                "user_folder",
                "write_atomic",
            ),
            "history": ("LossHistory", "read_history"),
            "lock": ("FolderLock", "holder"),
            "model_state": ("ModelState", "SessionRecord"),
            "tree": ("pack", "unpack"),
        },
    )

__all__ = [
    "Checkpoint",
    "CheckpointData",
    "Checkpoints",
    "FolderLock",
    "LossHistory",
    "ModelState",
    "SessionRecord",
    "flush_folder",
    "format_bytes",
    "holder",
    "pack",
    "read_history",
    "read_json",
    "require_writable",
    "sha256",
    "to_json_bytes",
    "unpack",
    "user_folder",
    "write_atomic",
]
