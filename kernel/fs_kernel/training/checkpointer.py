"""Saving beside the training: a staging buffer, and one thread that writes from it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import backend
from fs_kernel.errors import BadStepError
from fs_kernel.options.defaults import SaveOptions
from fs_kernel.storage import tree
from fs_kernel.storage.checkpoints import Checkpoint, CheckpointData, Checkpoints
from fs_kernel.training.session import Started

if TYPE_CHECKING:
    import torch

_ALIGN = 64


class Staging:
    """CPU memory that is touched once and then reused for every save.

    Copying into memory that is already there is several times faster than into fresh memory.

    Args:
        size: bytes expected; it grows if a save needs more.
        pinned: for copies from a GPU.
    """

    def __init__(self, size: int, pinned: bool) -> None:
        self._pinned = pinned
        self._buffer = self._allocate(size)
        self._used = 0

    def _allocate(self, size: int) -> torch.Tensor:
        import torch

        return torch.zeros(size, dtype=torch.uint8, pin_memory=self._pinned)

    def begin(self) -> None:
        """Start over; what was copied before may be overwritten."""
        if self._used > len(self._buffer):
            self._buffer = self._allocate(self._used)
        self._used = 0

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """A contiguous CPU copy, without its graph."""
        torch = backend.torch()
        source = tensor.detach()
        size = source.numel() * source.element_size()
        start, self._used = self._used, self._used + -(-size // _ALIGN) * _ALIGN
        if self._used > len(self._buffer):
            return source.to("cpu", copy=True, memory_format=torch.contiguous_format)
        target = self._buffer[start : start + size].view(source.dtype).view(source.shape)
        return target.copy_(source)


@attrs.frozen
class Written:
    """The end of a save: the generation, or why there is none."""

    step: int
    pause: float
    seconds: float
    generation: Checkpoint | None
    error: BaseException | None


class Saver:
    """Writes one checkpoint at a time in a thread of its own.

    Args:
        checkpoints: where to.
        staging: the buffer contents are captured into.
    """

    def __init__(self, checkpoints: Checkpoints, staging: Staging) -> None:
        self._checkpoints, self._staging = checkpoints, staging
        self._thread: threading.Thread | None = None
        self._written: Written | None = None

    @property
    def busy(self) -> bool:
        """Whether a save is being written, or its result has not been taken yet."""
        return self._thread is not None

    def begin(
        self, capture: Callable[[Callable[[Any], Any]], CheckpointData], options: SaveOptions
    ) -> None:
        """Capture a content into the staging buffer and start to write it.

        Args:
            capture: makes the content with the given function for copying tensors.
            options: what to keep of the generations before.
        """
        start = time.perf_counter()
        self._staging.begin()
        content = capture(self._staging.copy)
        pause = time.perf_counter() - start
        self._thread = threading.Thread(
            target=self._write, args=(content, options, pause, start), name="fs-saver"
        )
        self._thread.start()

    def _write(
        self, content: CheckpointData, options: SaveOptions, pause: float, start: float
    ) -> None:
        generation, failure = None, None
        try:
            _require_finite(content)
            skeleton, tensors = content.training
            content.training = skeleton, tree.materialize(tensors)
            generation = self._checkpoints.write(
                content, options.keep, options.max_disk.bytes, options.keep_best
            )
        except BaseException as error:
            failure = error
            if backend.is_out_of_memory(error):
                failure = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        seconds = time.perf_counter() - start
        self._written = Written(content.step, pause, seconds, generation, failure)

    def take(self, wait: bool = False) -> Written | None:
        """The result of a save that has ended since the last call.

        Args:
            wait: until the running one ends.
        """
        if self._thread is None or (self._thread.is_alive() and not wait):
            return None
        self._thread.join()
        self._thread = None
        written, self._written = self._written, None
        return written


class Follower(Saver):
    """The saver of a process that is not the one that writes: it takes part, and keeps nothing."""

    def begin(
        self, capture: Callable[[Callable[[Any], Any]], CheckpointData], options: SaveOptions
    ) -> None:
        """Take part in capturing a content."""
        capture(lambda tensor: tensor)


def _require_finite(content: CheckpointData) -> None:
    for name, tensor in content.weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise BadStepError(
                content.step, f"step {content.step}: the weight {name} is no finite number any more"
            )


def make_saver(session: Started) -> Saver:
    """The saver of a session, its buffer allocated for weights and two moments of each."""
    if session.group.rank > 0:
        return Follower(session.parts.checkpoints, Staging(0, pinned=False))
    options = session.parts.config["save"]
    copies = 1 if options.optimizer == "never" else 3
    size = session.info.parameters * 4 * copies + 2**20
    staging = Staging(size, pinned=session.device.type == "cuda")
    return Saver(session.parts.checkpoints, staging)
