"""The observer: asks for previews when they are due, and turns what comes into files.

Everything here runs in the observer's own thread; training only hands over what is drawn.
"""

from __future__ import annotations

from fs_kernel.types import Batch, Metrics, Preview, Run, Saved

from fs_addon_preview.batch import draw_batch
from fs_addon_preview.compose import Style, compose
from fs_addon_preview.files import PictureFolder
from fs_addon_preview.older_losses import Losses
from fs_addon_preview.options import SECTION, PreviewOptions
from fs_addon_preview.plot import draw_losses
from fs_addon_preview.schedule import Schedule


class PreviewSheets:
    """Writes ``batch_0.png``, the sheets and the timelapse of one run.

    Args:
        run: the run to watch.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._schedule = Schedule(run.info.start_step)
        self._folder = PictureFolder(run.info.model_dir / "previews")
        self._losses = Losses(run.info.model_dir)
        self._drawn: tuple[Preview, Style] | None = None
        self._frame_due = True

    @property
    def _options(self) -> PreviewOptions:
        options: PreviewOptions = self._run.config[SECTION]
        return options

    def on_first_batch(self, batch: Batch) -> None:
        """Draw what the network is about to be given, and write it as ``batch_0.png``."""
        info = self._run.info
        title = f"{info.model} - first batch of session {info.session}, step {batch.step}"
        picture = draw_batch(batch, self._run.network, title)
        self._folder.write_batch(picture, f"Training data at step {batch.step}")

    def on_metrics(self, metrics: Metrics) -> None:
        """Ask for a preview if one is due; redraw the last one if its look was changed."""
        options = self._options
        if self._schedule.due(metrics.step, options.interval):
            self._run.request_preview(options.images)
        if self._drawn is not None and self._drawn[1] != options.style():
            self._write_sheet(self._drawn[0])

    def on_checkpoint(self, saved: Saved) -> None:
        """Ask for a preview if saves are the pace now, or the timelapse needs one."""
        options = self._options
        self._frame_due = True
        if self._drawn is not None and self._drawn[0].step >= saved.step:
            self._write_frame(self._drawn[0])
        if self._schedule.due_at_save(options.interval) or (options.timelapse and self._frame_due):
            self._run.request_preview(options.images)

    def on_preview(self, preview: Preview) -> None:
        """Draw the sheet and write it; a frame of the timelapse too, if one is due."""
        self._write_sheet(preview)
        self._write_frame(preview)

    def _write_frame(self, preview: Preview) -> None:
        if self._options.timelapse and self._frame_due:
            frame = compose(preview, self._title(preview), self._options.style())
            self._folder.write_frame(frame, preview.step)
            self._frame_due = False

    def _write_sheet(self, preview: Preview) -> None:
        options = self._options
        style = options.style()
        curves = {
            side: (steps, losses)
            for side, (steps, losses) in self._losses.read(preview.step).items()
            if len(steps) > 1
        }
        plot = (lambda width: draw_losses(curves, width)) if curves else None
        sheet = compose(preview, self._title(preview), style, plot)
        words = f"Synthetic: made by the network {self._run.info.model} at step {preview.step}"
        self._folder.write_sheet(sheet, preview.step, words, options.keep)
        self._drawn = preview, style

    def _title(self, preview: Preview) -> str:
        info = self._run.info
        return f"{info.model} - step {preview.step:,} of {info.target_steps:,}"
