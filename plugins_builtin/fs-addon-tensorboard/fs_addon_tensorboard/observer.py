"""Observe a run and write every reading as events.

An observer has a thread of its own, so everything is written at once and nothing is queued: a
training step never waits for it, and nothing is left to write when the process ends.
"""

from __future__ import annotations

from collections.abc import Mapping

from fs_kernel.types import Finished, Metrics, Preview, RunInfo, Saved

from fs_addon_tensorboard.pictures import swap_sheets
from fs_addon_tensorboard.writer import EventFile


class TensorBoard:
    """Write ``logs/tensorboard/session_<n>``.

    Args:
        images: faces per side that a preview stores; 0 for none.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._file: EventFile | None = None
        self._step = 0

    def on_start(self, info: RunInfo) -> None:
        """Open the session's file, and drop what it held beyond the step that is resumed."""
        folder = info.model_dir / "logs" / "tensorboard" / f"session_{info.session}"
        self._file = EventFile(folder)
        self._file.forget_from(info.start_step + 1)
        self._file.text("run", describe(info), info.start_step)
        self._file.flush()
        self._step = info.start_step

    def on_metrics(self, metrics: Metrics) -> None:
        """Write one reading; a step below the last one means that training went back."""
        if self._file is None:
            return
        if metrics.step <= self._step:
            self._file.forget_from(metrics.step)
        self._step = metrics.step
        self._file.scalars(scalars_of(metrics), metrics.step)
        self._file.flush()

    def on_preview(self, preview: Preview) -> None:
        """Store the swaps as pictures, if they are wanted."""
        if self._file is not None and self._images:
            for tag, sheet in swap_sheets(preview, self._images).items():
                self._file.picture(tag, sheet, preview.step)
            self._file.flush()

    def on_checkpoint(self, saved: Saved) -> None:
        """Write what a save cost, and the mean loss since the one before."""
        if self._file is None:
            return
        values = {"save/seconds": saved.seconds, "save/pause_seconds": saved.pause_seconds}
        if saved.average_loss is not None:
            values["save/average_loss"] = saved.average_loss
        self._file.scalars(values, saved.step)
        self._file.flush()

    def on_finish(self, outcome: Finished) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def scalars_of(metrics: Metrics) -> dict[str, float]:
    """Return a reading as scalars by tag.

    ``loss/total``, ``loss/a`` per side; ``loss_a/face_64/ssim`` per part, as it enters the side's
    total, and ``unweighted_a/face_64/ssim`` without its weight; ``learning_rate`` if the trainer
    reports it; ``speed/images_per_second`` and ``speed/step_seconds``; ``values/NAME`` for each
    further number that trainer, objectives or add-ons reported.
    """
    values = {"loss/total": sum(metrics.losses.values())}
    values |= {f"loss/{side}": value for side, value in metrics.losses.items()}
    for side, parts in metrics.parts.items():
        values |= {f"loss_{side}/{name}": value for name, value in parts.items()}
    for side, parts in metrics.unweighted.items():
        values |= {f"unweighted_{side}/{name}": value for name, value in parts.items()}
    if metrics.learning_rate is not None:
        values["learning_rate"] = metrics.learning_rate
    values["speed/images_per_second"] = metrics.images_per_second
    values["speed/step_seconds"] = metrics.step_seconds
    values |= {f"values/{name}": value for name, value in metrics.values.items()}
    return values


def describe(info: RunInfo) -> str:
    """Return the facts of a session as a Markdown table."""
    facts: Mapping[str, object] = {
        "model": info.model,
        "parameters": f"{info.parameters:,}",
        "trainer": info.trainer,
        "feed": info.feed,
        "executor": info.executor,
        "device": info.device,
        "precision": info.precision,
        "batch size": info.batch_size,
        "faces": ", ".join(f"{side} {info.face_counts[side]}" for side in info.sides),
        "steps": f"{info.start_step} to {info.target_steps}",
        "seed": info.seed,
    }
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])
