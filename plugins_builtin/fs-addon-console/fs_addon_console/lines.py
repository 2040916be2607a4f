"""The words: facts of a run as short lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fs_kernel.storage import format_bytes
from fs_kernel.types import Finished, Metrics, RunInfo, Saved


def duration(seconds: float) -> str:
    """``"45s"``, ``"3m20s"``, ``"1h02m"``, ``"2d03h"``, or ``"?"`` if it is unknown."""
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
    """A loss with four decimals; very small and very large ones with three digits."""
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.4f}"
    return f"{value:.3g}"


def losses(values: Mapping[str, float]) -> str:
    """``"loss a 0.1234 b 0.1567"``, sides in their order."""
    return "loss " + " ".join(f"{side} {number(value)}" for side, value in values.items())


def rate(metrics: Metrics) -> str:
    """``"31.2 img/s"``, all sides together."""
    return f"{metrics.images_per_second:.1f} img/s"


def start(info: RunInfo) -> list[str]:
    """What is about to be trained, on what, from where to where, and the disk it will take."""
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


def progress(metrics: Metrics, target: int, remaining: float) -> str:
    """One line of a log: step, losses, speed, time to go."""
    parts = [f"step {metrics.step}/{target}", losses(metrics.losses), rate(metrics)]
    return "  ".join([*parts, f"eta {duration(remaining)}"])


def saved(save: Saved) -> str:
    """One line about a finished save."""
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
    """Why the session ended, at which step, after how long.

    The error's own line is left to whoever started the run: the command line prints it as its
    last word.
    """
    ending = _ENDINGS.get(outcome.reason, outcome.reason)
    return f"{ending} at step {outcome.step} of {target} after {duration(outcome.seconds)}"
