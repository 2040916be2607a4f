"""What observers are told, in the order of a session."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from fs_kernel.types.data import Batch, Preview
    from fs_kernel.types.network import Side


class StopReason(enum.StrEnum):
    """Why a session ended."""

    TARGET_REACHED = "target"
    STOPPED = "stopped"
    TIME_UP = "time"
    FAILED = "failed"


@attrs.frozen
class RunInfo:
    """Hold the facts of a session, fixed once training starts.

    Attributes:
        disk_bytes: about what its checkpoints will take on disk, at most.
    """

    model_dir: Path
    model: str
    network_name: str
    trainer: str
    feed: str
    executor: str
    sides: tuple[Side, ...]
    parameters: int
    batch_size: int
    device: str
    precision: str
    seed: int
    session: int
    start_step: int
    target_steps: int
    face_counts: Mapping[Side, int]
    disk_bytes: int = 0


@attrs.frozen
class Metrics:
    """Hold what one or more steps gave, read back from the device.

    Attributes:
        step: the last step covered.
        losses: per side, the total of that step.
        parts: per side, ``{"face_64/ssim": weighted value}`` of that step.
        unweighted: the same without the losses' weights.
        learning_rate: the rate in use, if the trainer says.
        images_per_second: over the steps since the last report, all sides together.
        step_seconds: median duration of those steps.
        values: further numbers by name: what trainer and objectives reported with the step, and
            what add-ons logged or evaluated since the last report.
    """

    step: int
    losses: Mapping[Side, float]
    parts: Mapping[Side, Mapping[str, float]]
    learning_rate: float | None
    images_per_second: float
    step_seconds: float
    unweighted: Mapping[Side, Mapping[str, float]] = attrs.field(factory=dict)
    values: Mapping[str, float] = attrs.field(factory=dict)


@attrs.frozen
class Saved:
    """Hold the facts of a finished save.

    Attributes:
        step: the step it holds.
        generation: the checkpoint's name.
        bytes: its size on disk.
        seconds: from its start until it counts.
        pause_seconds: how long training stood still for it.
        average_loss: mean summed loss since the save before, if steps were done.
        snapshot: whether it is kept permanently.
    """

    step: int
    generation: str
    bytes: int
    seconds: float
    pause_seconds: float
    average_loss: float | None
    snapshot: bool = False


@attrs.frozen
class BadStep:
    """Describe a step that cannot be kept.

    Attributes:
        step: the bad step.
        reason: one line that names the loss and the first bad weight.
        checkpoint_step: the step of the last good checkpoint; None if there is none.
        rollbacks: how often this session has gone back.
    """

    step: int
    reason: str
    checkpoint_step: int | None
    rollbacks: int


@attrs.frozen
class Finished:
    """How a session ended, and with which error if it failed."""

    reason: StopReason
    step: int
    seconds: float
    error: str | None = None


class Observer(Protocol):
    """Watch a run. Every method is optional; each observer has a thread of its own.

    An observer that raises is switched off with one warning, and the run continues.
    """

    def on_start(self, info: RunInfo) -> None:
        """The run begins."""

    def on_first_batch(self, batch: Batch) -> None:
        """The first batch of the session, on the CPU."""

    def on_metrics(self, metrics: Metrics) -> None:
        """Losses were read back."""

    def on_preview(self, preview: Preview) -> None:
        """A preview was made."""

    def on_checkpoint(self, saved: Saved) -> None:
        """A save is finished and counts."""

    def on_warning(self, message: str) -> None:
        """Something a user should know."""

    def on_note(self, message: str) -> None:
        """Something that happened."""

    def on_finish(self, outcome: Finished) -> None:
        """The run is over; the last event."""
