"""Bring sharded tensors into a checkpoint.

While training stands still every process writes its own shards with
`torch.distributed.checkpoint`. When it continues, process 0 lets the same writer consolidate them
in one plain safetensors file, and maps that into memory. So no process ever holds more than one
full tensor at a time, and a checkpoint gets what every other trainer gives it.
"""

from __future__ import annotations

import shutil
import uuid
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fs_kernel.errors import ModelFolderError
from fs_kernel.types import DeferredTensor, Tree
from fs_nn.coordination import ManyProcesses
from fs_nn.dtensor import is_sharded
from fs_nn.processes import Processes
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import WriteResult

#: The kernel removes folders whose names begin so before the next save, if a kill left one behind.
_NAME = "checkpoints/.writing-shards-"


def with_full_tensors(tree: Tree, model_dir: Path, group: Processes) -> Tree:
    """Return a tree with full tensors for sharded ones, in process 0; all processes ask together.

    The others, which write nothing, get the tree as it is.

    Args:
        tree: as trainers give it to a checkpoint.
        model_dir: the model folder; that of process 0 counts, and all processes reach it.
        group: the processes.

    Raises:
        ModelFolderError: the disk is full or failed, or a process does not see the folder; nothing
            is left behind.
    """
    sharded: dict[str, Any] = {}

    def note(path: str, tensor: Any) -> Any:
        sharded[path] = tensor
        return tensor

    _mapped(tree, note)
    if not sharded:
        return tree
    folder = group.broadcast((model_dir / f"{_NAME}{uuid.uuid4().hex[:8]}").absolute())
    writer = _Writer(folder)
    try:
        _make(folder, group)
        # Torch's save is collective, but it lets a failure in one process fail in all of them.
        ManyProcesses(group).everywhere(lambda: _write(sharded, writer))
    except BaseException:
        writer.remove()
        raise
    if group.rank > 0:
        return tree
    return _mapped(tree, lambda path, _: DeferredTensor(lambda: writer.full[path]))


class _Writer(HuggingFaceStorageWriter):
    """Write shards at once, and consolidate them when the first full tensor is asked for.

    Args:
        folder: where to; it is removed when they are consolidated.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), save_distributed=True, enable_consolidation=True)
        # The file is read back at once, and what a kill leaves of it is thrown away.
        self.sync_files = False
        self.folder = folder
        self._finish: Callable[[], None]

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Note how to consolidate. Called in process 0 when all have written."""
        self._finish = partial(super().finish, metadata, results)

    @cached_property
    def full(self) -> dict[str, Tensor]:
        """Full tensors, mapped from the file. Raises OSError."""
        try:
            self._finish()
            (file,) = self.folder.glob("*.safetensors")
            return load_file(file)
        finally:
            # What is mapped stays readable without its file.
            self.remove()

    def remove(self) -> None:
        """Remove the folder; where a mapped file cannot be (Windows), the next save does it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _mapped(node: Tree, function: Callable[[str, Any], Any], path: str = "") -> Tree:
    """Return a tree with ``function`` of path and value in place of each sharded tensor."""
    if is_sharded(node):
        return function(path, node)
    if isinstance(node, Mapping):
        return {key: _mapped(value, function, f"{path}/{key}") for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_mapped(value, function, f"{path}/{i}") for i, value in enumerate(node)]
    return node


def _make(folder: Path, group: Processes) -> None:
    """Make a folder that all processes see: shards that one writes elsewhere would be missing."""

    def make() -> None:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise ModelFolderError(f"cannot write in {folder.parent}: {error.strerror}") from None

    def require() -> None:
        if not folder.is_dir():
            raise ModelFolderError(
                f"cannot see {folder.parent}, where shards are to be written; put the model folder "
                "on storage that all machines share"
            )

    coordinator = ManyProcesses(group)
    coordinator.on_main(make)
    coordinator.everywhere(require)


def _write(sharded: Mapping[str, Any], writer: _Writer) -> None:
    """Write every process's shards.

    Raises:
        ModelFolderError: one of the processes could not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(dict(sharded), storage_writer=writer)
    except CheckpointException as error:
        reason = next(iter(error.failures.values()))[0]
        if isinstance(reason, OSError):
            reason = ModelFolderError(f"cannot write in {writer.folder.parent}: {reason.strerror}")
        raise reason from None
