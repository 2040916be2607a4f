"""Say when saves start and how they end: the checkpointer in the midst of a run."""

from __future__ import annotations

import time

from fs_kernel.errors import ModelFolderError
from fs_kernel.training.checkpointer import Checkpointer, SaveFailure, saved_or_raise
from fs_kernel.training.handle import Collaborators
from fs_kernel.training.staging import Staging
from fs_kernel.types import Saved, SaveReason


class Saves:
    """The saves of a session.

    Args:
        parts: of the run.

    Attributes:
        checkpointer: writes, and knows where to go back to.
    """

    def __init__(self, parts: Collaborators) -> None:
        self._parts, session = parts, parts.session
        resolved, device = session.resolved, session.device
        staging = None
        if session.coordinator.is_main:
            # Allocated before training, large enough for weights and two moments of each.
            copies = 1 if session.options.config["save"].optimizer == "never" else 3
            size = session.info.parameters * 4 * copies + 2**20
            staging = Staging(size, pinned=device.type == "cuda")
        self.checkpointer = Checkpointer(
            resolved.checkpoints,
            parts.step.capture,
            lambda: session.options.config["save"],
            staging,
            session.state.iterations,
        )

    def start(self, reason: SaveReason, final: bool = False) -> None:
        """Start a save of this step; all metrics are read by now."""
        session, agenda, metrics = self._parts.session, self._parts.agenda, self._parts.metrics
        step = session.state.iterations
        snapshot = reason is SaveReason.SNAPSHOT or agenda.snapshot_wanted(step)
        steps = agenda.save_started(snapshot, step, time.monotonic())
        average = metrics.take_average()
        if average is not None:
            session.state.average_loss = average
        facts = {
            "loss": average,
            "loss_steps": steps,
            "monitored": metrics.monitored(session.options.config["save"], average),
            "snapshot": snapshot,
        }
        try:
            self.checkpointer.start(final, **facts)
        except ModelFolderError as error:
            if final:
                raise
            self._report(SaveFailure(step, str(error)))
        metrics.resume_clock()

    def collect(self, wait: bool = False, required: bool = False) -> Saved | SaveFailure | None:
        """Report how a save ended, if one has; one that is not ``required`` may fail."""
        result = self.checkpointer.collect(wait)
        if isinstance(result, Saved):
            self._parts.events.emit_record("saved", result)
        elif result is not None and not required:
            self._report(result)
        return result

    def finish(self) -> Saved:
        """Wait for the save in flight, which must succeed, and return it in all processes."""
        return self._parts.session.coordinator.on_main(
            lambda: saved_or_raise(self.collect(wait=True, required=True))
        )

    def _report(self, failure: SaveFailure) -> None:
        events = self._parts.events
        events.emit("save_failed", step=failure.step, message=failure.message)
        events.warn(f"{failure.message}; training continues, and the save will be retried")
