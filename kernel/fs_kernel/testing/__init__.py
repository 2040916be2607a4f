"""A kit for tests of the kernel and of plugins: a tiny run made of arrays, no files of faces.

`TinyModel` (about 100,000 weights), `ArrayFeed`, `PlainTrainer` and `PlainExecutor` are complete
plugins that can be handed to `fs_kernel.open_run` as objects; `tiny_run` does that. What a plugin
owes the kernel is checked by `fs_kernel.testing.suites`; the fixtures of
`fs_kernel.testing.pytest_plugin` are there in every test session.

Importing this package imports nothing else until a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fs_kernel.testing.arrays import array_face, array_faces, array_mask
    from fs_kernel.testing.declarations import unmarked_hooks, waivers
    from fs_kernel.testing.plugins import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel
    from fs_kernel.testing.runs import tiny_run

_ROOMS = {
    "array_face": "arrays",
    "array_faces": "arrays",
    "array_mask": "arrays",
    "ArrayFeed": "plugins",
    "PlainExecutor": "plugins",
    "PlainTrainer": "plugins",
    "TinyModel": "plugins",
    "tiny_run": "runs",
    "unmarked_hooks": "declarations",
    "waivers": "declarations",
}
__all__ = [
    "ArrayFeed",
    "PlainExecutor",
    "PlainTrainer",
    "TinyModel",
    "array_face",
    "array_faces",
    "array_mask",
    "tiny_run",
    "unmarked_hooks",
    "waivers",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'fs_kernel.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(f"fs_kernel.testing.{_ROOMS[name]}"), name)
