"""Spread tensors on their way into a checkpoint.

While training stands still every process writes its own shares with `torch.distributed.checkpoint`.
When it goes on, process 0 lets the same writer put them together in one plain safetensors file, and
maps that into memory. So no process ever holds more than one whole tensor at a time, and what a
checkpoint gets is what every other trainer gives it.
"""

from __future__ import annotations

import shutil
import uuid
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from fs_kernel.errors import ModelFolderError
from fs_kernel.training.coordination import together
from fs_kernel.types import DeferredTensor, Group, Tree
from fs_nn.sharded import is_spread
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.storage import WriteResult

#: Under a name that begins so the kernel removes what a kill left behind, before the next save.
_NAME = "checkpoints/.writing-shards-"


def settled(tree: Tree, model_dir: Path, group: Group) -> Tree:
    """A tree with whole tensors for spread ones, in process 0; all processes ask together.

    The others, which write nothing, get the tree as it is.

    Args:
        tree: as trainers give it to a checkpoint.
        model_dir: the model folder; that of process 0 counts, and all processes reach it.
        group: the processes.

    Raises:
        ModelFolderError: the disk is full or failed, or a process does not see the folder; nothing
            is left behind.
    """
    spread: dict[str, Any] = {}

    def note(path: str, tensor: Any) -> Any:
        spread[path] = tensor
        return tensor

    _mapped(tree, note)
    if not spread:
        return tree
    folder = group.share((model_dir / f"{_NAME}{uuid.uuid4().hex[:8]}").absolute())
    writer = _Writer(folder)
    try:
        _make(folder, group)
        with together(group):
            _write(spread, writer)
    except BaseException:
        writer.remove()
        raise
    if group.rank > 0:
        return tree
    return _mapped(tree, lambda path, _: DeferredTensor(lambda: writer.whole[path]))


class _Writer(HuggingFaceStorageWriter):
    """Writes shares at once, and puts them together when somebody asks for one of them.

    Args:
        folder: where to; it is gone when they are put together.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), save_distributed=True, enable_consolidation=True)
        # The file is read back at once, and what a kill leaves of it is thrown away.
        self.sync_files = False
        self.folder = folder
        self._finish: Callable[[], None]

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Called in process 0 when all have written."""
        self._finish = partial(super().finish, metadata, results)

    @cached_property
    def whole(self) -> dict[str, Tensor]:
        """Whole tensors, mapped from the file. Raises OSError."""
        try:
            self._finish()
            (file,) = self.folder.glob("*.safetensors")
            return load_file(file)
        finally:
            # What is mapped stays until it is let go of.
            self.remove()

    def remove(self) -> None:
        """Remove the folder; where a mapped file cannot be (Windows), the next save does it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _mapped(node: Tree, function: Callable[[str, Any], Any], path: str = "") -> Tree:
    """A tree with ``function`` of the path and value of each spread tensor in its place."""
    if is_spread(node):
        return function(path, node)
    if isinstance(node, Mapping):
        return {key: _mapped(value, function, f"{path}/{key}") for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_mapped(value, function, f"{path}/{i}") for i, value in enumerate(node)]
    return node


def _make(folder: Path, group: Group) -> None:
    """Make a folder that all processes see: shares that one writes elsewhere would be missing."""
    with together(group):
        if group.rank == 0:
            try:
                folder.mkdir(parents=True)
            except OSError as error:
                raise ModelFolderError(
                    f"cannot write in {folder.parent}: {error.strerror}"
                ) from None
    with together(group):
        if not folder.is_dir():
            raise ModelFolderError(
                f"cannot see {folder.parent}, where shards are to be written; put the model folder "
                "on storage that all machines share"
            )


def _write(spread: Mapping[str, Any], writer: _Writer) -> None:
    """Write every process's shares.

    Raises:
        ModelFolderError: one of the processes could not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp.save(dict(spread), storage_writer=writer)
    except dcp.CheckpointException as error:
        reason = next(iter(error.failures.values()))[0]
        if isinstance(reason, OSError):
            reason = ModelFolderError(f"cannot write in {writer.folder.parent}: {reason.strerror}")
        raise reason from None
