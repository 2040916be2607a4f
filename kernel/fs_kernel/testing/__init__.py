"""A kit for tests of the kernel and of plugins: a tiny run made of arrays, no files of faces.

`TinyModel` (about 100,000 weights), `ArrayFeed`, `PlainTrainer` and `PlainExecutor` are complete
plugins that can be handed to `fs_kernel.open_run` as objects; `tiny_run` does that.
"""

from fs_kernel.testing.plugins import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel
from fs_kernel.testing.runs import tiny_run

__all__ = ["ArrayFeed", "PlainExecutor", "PlainTrainer", "TinyModel", "tiny_run"]
