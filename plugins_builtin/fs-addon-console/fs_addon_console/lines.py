"""Put facts of a run into short lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fs_kernel.storage import format_bytes
from fs_kernel.types import Finished, Metrics, RunInfo, Saved


def duration(seconds: float) -> str:
    """Return ``"45s"``, ``"3m20s"``, ``"1h02m"``, ``"2d03h"``, or ``"?"`` if it is unknown."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def number(value: float) -> str:
    """Return a number with four decimals; very small and very large ones with three digits."""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.4f}"
    return f"{value:.3g}"


def losses(values: Mapping[str, float]) -> str:
    """Return ``"loss a 0.1234 b 0.1567"``, sides in their order."""
    return "loss " + " ".join(f"{side} {number(value)}" for side, value in values.items())


def rate(metrics: Metrics) -> str:
    """Return ``"31.2 img/s"``, all sides together."""
    return f"{metrics.images_per_second:.1f} img/s"


def start(info: RunInfo) -> list[str]:
    """Return lines that say what is trained, on what, for which steps, and the disk it takes."""
    faces = ", ".join(f"{side} {info.face_counts[side]}" for side in info.sides)
    steps = f"steps {info.start_step} to {info.target_steps}"
    if info.start_step > 0:
        steps = f"resumed: {steps}, session {info.session}"
    disk = (
        f"; checkpoints will take up to {format_bytes(info.disk_bytes)}" if info.disk_bytes else ""
    )
    return [
        f"model {info.model}, {info.parameters:,} parameters, on {info.device} ({info.precision})",
        f"faces {faces}; batch {info.batch_size} per side",
        f"folder {info.model_dir}" + disk,
        steps,
    ]


class Values:
    """The numbers besides losses that are shown: the newest of each, few of them.

    Args:
        names: which; empty for the first `MOST` that are reported.
    """

    MOST = 3

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = tuple(names)
        self._newest: dict[str, float] = {}

    def update(self, metrics: Metrics) -> None:
        """Take in a reading, which holds only what was reported since the one before."""
        self._newest |= metrics.values

    def words(self) -> list[str]:
        """Return ``["psnr_heldout 31.2041", ...]``."""
        names = self._names or tuple(self._newest)[: self.MOST]
        return [f"{name} {number(self._newest[name])}" for name in names if name in self._newest]


def progress(metrics: Metrics, target: int, remaining: float, values: Sequence[str] = ()) -> str:
    """Return one line of a log: step, losses, other values, speed, time to go."""
    parts = [f"step {metrics.step}/{target}", losses(metrics.losses), *values, rate(metrics)]
    return "  ".join([*parts, f"eta {duration(remaining)}"])


def saved(save: Saved) -> str:
    """Return one line about a finished save."""
    what = "saved snapshot of" if save.snapshot else "saved"
    line = f"{what} step {save.step}: {format_bytes(save.bytes)} in {save.seconds:.1f} s"
    if save.average_loss is not None:
        line += f", average loss {number(save.average_loss)}"
    return line


_ENDINGS = {
    "target": "done",
    "stopped": "stopped on request",
    "time": "stopped, the time is up",
    "failed": "failed",
}


def finish(outcome: Finished, target: int) -> str:
    """Return one line: why the session ended, at which step, after how long.

    The error itself is left to the program that started the run: ``fs`` prints it last.
    """
    ending = _ENDINGS.get(outcome.reason, outcome.reason)
    return f"{ending} at step {outcome.step} of {target} after {duration(outcome.seconds)}"
