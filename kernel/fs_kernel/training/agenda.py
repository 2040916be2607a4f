"""Decide what is due between two steps, from requests, schedules and a deadline.

This knows no process and no plugin: requests come from any thread, and the loop asks between steps.
"""

from __future__ import annotations

import enum

import attrs

from fs_kernel.options.fields import Interval
from fs_kernel.options.store import OptionStore
from fs_kernel.types import Decision, SaveReason, StopReason


class Action(enum.Enum):
    """What any thread may ask for."""

    STOP = "stop"
    SAVE = "save"
    SNAPSHOT = "snapshot"
    PREVIEW = "preview"


@attrs.define
class _Periodic:
    """When something was last done."""

    step: int
    time: float

    def due(self, interval: Interval, step: int, now: float) -> bool:
        return interval.due(step - self.step, now - self.time)


class Agenda:
    """Collect requests and follow schedules.

    Args:
        options: of the run, with ``[training]`` and ``[save]``.
        step: steps done.
        now: seconds on a clock that never jumps.
        keeps_time: whether schedules and the deadline count here. Several processes have several
            clocks; that of process 0 counts.

    Attributes:
        deadline: when the session must end, on the same clock; None for no limit.
    """

    def __init__(
        self,
        options: OptionStore,
        step: int,
        now: float,
        keeps_time: bool = True,
    ) -> None:
        self.deadline: float | None = None
        self._faces, self._previewed = 0, step
        self._options, self._keeps_time = options, keeps_time
        self._requests: dict[Action, int] = {}
        self._evaluations: dict[str, Interval] = {}
        self._evaluated: dict[str, _Periodic] = {}
        self.restart(step, now)

    def restart(self, step: int, now: float) -> None:
        """Count schedules from here on; requests that wait stay. For the start and a roll-back."""
        self._first_step = self._snapshot_step = step
        self._read, self._saved = _Periodic(step, now), _Periodic(step, now)
        for name in self._evaluations:
            self._evaluated[name] = _Periodic(step, now)

    def evaluate_at(self, name: str, interval: Interval, step: int, now: float) -> None:
        """Add something to be evaluated at an interval."""
        self._evaluations[name] = interval
        self._evaluated[name] = _Periodic(step, now)

    def request(self, action: Action, faces: int = 1) -> None:
        """Ask for an action after the current step. Safe from any thread and signal handler."""
        # Without a lock: a signal handler may run while this very thread would hold it.
        before = self._requests.get(action, 0)
        self._requests[action] = max(before, faces)

    def wish(self, step: int, now: float, save_in_progress: bool = False) -> Decision:
        """Return what this process wants next.

        Args:
            step: steps done.
            now: seconds, on the clock of the start.
            save_in_progress: whether an earlier save is still being written.
        """
        began = step > self._first_step
        return Decision(
            stop=self.stop_reason(step, now),
            read_metrics=self._keeps_time
            and self._read.due(self._options.config["training"].metrics_interval, step + 1, now),
            save=self._save(step, now) if began else None,
            save_blocked=save_in_progress,
            # What was asked for before the first step is made after it.
            preview_faces=self._requests.get(Action.PREVIEW, 0) if began else 0,
            evaluate=self._keeps_time and bool(self.evaluations_due(step + 1, now)),
        )

    def stop_reason(self, step: int, now: float = 0.0) -> StopReason | None:
        """Return why the session ends at this step, or None."""
        if step >= self._options.config["training"].iterations:
            return StopReason.TARGET_REACHED
        if Action.STOP in self._requests:
            return StopReason.STOPPED
        late = self._keeps_time and self.deadline is not None and now >= self.deadline
        return StopReason.TIME_UP if late else None

    def _save(self, step: int, now: float) -> SaveReason | None:
        if self.snapshot_wanted(step):
            return SaveReason.SNAPSHOT
        if Action.SAVE in self._requests:
            return SaveReason.REQUESTED
        due = self._keeps_time and self._saved.due(self._options.config["save"].interval, step, now)
        return SaveReason.SCHEDULED if due else None

    def snapshot_due(self, step: int) -> bool:
        """Return whether a snapshot must hold exactly this step."""
        every = self._options.config["save"].snapshot_interval
        return every > 0 and step % every == 0 and step != self._snapshot_step

    def snapshot_wanted(self, step: int) -> bool:
        """Return whether the next save must be a snapshot, due or asked for."""
        return self.snapshot_due(step) or Action.SNAPSHOT in self._requests

    def evaluations_due(self, step: int, now: float) -> list[str]:
        """Return the names of what is to be evaluated."""
        return [
            name
            for name, interval in self._evaluations.items()
            if self._evaluated[name].due(interval, step, now)
        ]

    # --- what was done ---

    def metrics_read(self, step: int, now: float) -> None:
        """Count from here to the next reading."""
        self._read = _Periodic(step, now)

    def save_started(self, snapshot: bool, step: int, now: float) -> int:
        """Count from here to the next save, and drop the requests it answers.

        Returns:
            Steps since the save before.
        """
        steps = step - self._saved.step
        self._saved = _Periodic(step, now)
        self._requests.pop(Action.SAVE, None)
        if snapshot:
            self._requests.pop(Action.SNAPSHOT, None)
            self._snapshot_step = step
        return steps

    def preview_made(self, faces: int, step: int) -> None:
        """Drop the request for a preview, and remember its size."""
        self._requests.pop(Action.PREVIEW, None)
        self._faces, self._previewed = faces, step

    def preview_at_end(self, step: int) -> int:
        """Return how many faces the last preview of a session shows; 0 if there is none to make."""
        faces = max(self._faces, self._requests.get(Action.PREVIEW, 0))
        return faces if step != self._previewed else 0

    def evaluated(self, name: str, step: int, now: float) -> None:
        """Count from here to the next evaluation."""
        self._evaluated[name] = _Periodic(step, now)
