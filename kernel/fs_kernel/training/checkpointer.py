"""Save and go back: the one state machine of checkpoints in a session.

::

    IDLE --start--> WRITING --(thread ends)--> WRITTEN or FAILED --collect--> IDLE

A save pauses training only for the copy into a staging buffer; a thread writes from there. One save
is in flight at a time. Only process 0 writes; the others take part in the copy and stay IDLE.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs

from fs_kernel import backend
from fs_kernel.errors import BadStepError, ModelFolderError
from fs_kernel.options.defaults import SaveOptions
from fs_kernel.storage import tree
from fs_kernel.storage.checkpoints import Checkpoint, CheckpointData, Checkpoints
from fs_kernel.training.staging import Staging
from fs_kernel.types import Saved

#: ``capture(with_trainer, copy)`` returns what a checkpoint holds.
Capture = Callable[[bool, Callable[[Any], Any]], CheckpointData]


@attrs.frozen
class SaveFailure:
    """A save that could not be written; what was there before is intact."""

    step: int
    message: str


@attrs.define
class _Write:
    """A save in flight, filled in by its thread."""

    data: CheckpointData
    final: bool
    started: float
    pause: float
    made: Checkpoint | None = None
    error: BaseException | None = None
    seconds: float = 0.0


class Checkpointer:
    """Save checkpoints beside the training, and choose the one to go back to.

    Args:
        checkpoints: of the model folder.
        capture: returns what a checkpoint holds, made with a function that copies tensors.
        options: returns ``[save]`` as it is now.
        staging: the buffer to copy into; None for a process that writes nothing.
        step: steps done in the checkpoint that the session starts from; 0 if there is none.

    Attributes:
        last_step: the step of the newest checkpoint.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        capture: Capture,
        options: Callable[[], SaveOptions],
        staging: Staging | None,
        step: int,
    ) -> None:
        self.last_step = step
        self._checkpoints, self._capture, self._options = checkpoints, capture, options
        self._staging = staging
        self._thread: threading.Thread | None = None
        self._write: _Write | None = None
        self._last_was_final = True
        self._returned_to: str | None = None

    @property
    def busy(self) -> bool:
        """Whether a save is being written, or its result has not been collected yet."""
        return self._thread is not None

    def unsaved(self, step: int) -> bool:
        """Return whether the newest checkpoint lacks steps, or was not saved as the last one."""
        return step > self.last_step or not self._last_was_final

    # --- saving ---

    def start(self, final: bool = False, **facts: Any) -> None:
        """Copy the state of now and start to write it.

        Args:
            final: it is the last save of the session, for ``save.optimizer = "exit"``.
            facts: further fields of `CheckpointData`: loss, loss_steps, monitored, snapshot.
        """
        options = self._options()
        with_trainer = options.optimizer == "always" or (options.optimizer == "exit" and final)
        if self._staging is None:
            self._capture(with_trainer, lambda tensor: tensor)
            return
        started = time.perf_counter()
        self._staging.reset()
        data = attrs.evolve(self._capture(with_trainer, self._staging.copy), **facts)
        write = self._write = _Write(data, final, started, time.perf_counter() - started)
        self._thread = threading.Thread(
            target=self._run, args=(write, options), name="fs-checkpointer"
        )
        self._thread.start()

    def _run(self, write: _Write, options: SaveOptions) -> None:
        try:
            _require_finite(write.data)
            skeleton, tensors = write.data.training
            write.data.training = skeleton, tree.materialize(tensors)
            write.made = self._checkpoints.write(
                write.data, options.keep, options.max_disk.bytes, options.keep_best
            )
        except BaseException as error:
            write.error = error
            if backend.is_out_of_memory(error):
                write.error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        write.seconds = time.perf_counter() - write.started

    def collect(self, wait: bool = False) -> Saved | SaveFailure | None:
        """Return how a save ended since the last call; None if none has.

        Args:
            wait: for the one in flight.

        Raises:
            BadStepError: the weights that were to be saved are not finite.
        """
        if self._thread is None or (self._thread.is_alive() and not wait):
            return None
        self._thread.join()
        write, self._thread, self._write = self._write, None, None
        assert write is not None
        if isinstance(write.error, OSError):
            where = f"could not save step {write.data.step} in {self._checkpoints.model_dir}"
            intact = f"; the checkpoint of step {self.last_step} is intact" * bool(self.last_step)
            return SaveFailure(write.data.step, f"{where}: {write.error.strerror}{intact}")
        if write.made is None:
            assert write.error is not None
            raise write.error
        made = write.made
        self.last_step, self._last_was_final = made.step, write.final
        self._returned_to = None
        times = (write.seconds, write.pause)
        return Saved(made.step, made.name, made.bytes, *times, made.loss, made.snapshot)

    # --- going back ---

    def exists(self) -> bool:
        """Return whether there is a checkpoint to go back to."""
        return self._checkpoints.current_name() is not None

    def roll_back(self, warn: Callable[[str], None]) -> str:
        """Return the name of the checkpoint to go back to.

        That is the newest valid one; and, if the session went back to one already and saved nothing
        since, the one before it: what follows a checkpoint may be bad because the checkpoint is.

        Raises:
            ModelFolderError: none is valid.
        """
        last = self._returned_to
        if last is None:
            return self._checkpoints.latest_valid(warn)
        return self._checkpoints.older_than(last)

    def returned(self, name: str, step: int) -> None:
        """Note that the session is at a checkpoint again."""
        self._returned_to, self.last_step, self._last_was_final = name, step, True


def saved_or_raise(result: Saved | SaveFailure | None) -> Saved:
    """Return a save that had to succeed.

    Raises:
        ModelFolderError: it failed.
    """
    if isinstance(result, Saved):
        return result
    raise ModelFolderError(result.message if result else "nothing was saved")


def _require_finite(data: CheckpointData) -> None:
    for name, tensor in data.weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise BadStepError(data.step, f"step {data.step}: the weight {name} is not finite")
