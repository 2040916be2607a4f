"""Preview sheets: what the network makes of a few faces, as PNG."""

from __future__ import annotations

import re
from typing import Any

import attrs
from fs_kernel import ConfigError, Interval, hookimpl, option
from fs_kernel.types import Metrics, Preview, Run, Saved

from fs_addon_preview.compose import Style, compose
from fs_addon_preview.files import SheetFolder
from fs_addon_preview.schedule import Schedule

SECTION = "preview"


@attrs.frozen
class PreviewOptions:
    """Options of the section ``[preview]``."""

    images: int = option(14, "Faces per side on a sheet.", choices=range(2, 17, 2))
    show_mask: bool = option(False, "Tint everything outside the mask, where faces have one.")
    mask_opacity: int = option(30, "Strength of the tint in per cent.", minimum=0, maximum=100)
    mask_color: str = option("#ff0000", "Colour of the tint and of the corner marks, as #rrggbb.")
    keep: int = option(
        30,
        "Sheets kept beside latest.png, spread evenly from the first to the newest; 0 for none.",
        minimum=0,
        maximum=10000,
    )
    interval: Interval = option(
        Interval(),
        "Pace of sheets in steps (500) or time ('5min'); 0 means after the first step, every "
        "minute for ten minutes, then at every save.",
    )

    @mask_color.validator
    def _check_color(self, attribute: Any, value: str) -> None:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise ConfigError(
                f"{SECTION}.mask_color: '{value}' is no colour; write # and six hex digits, "
                "for example #ff0000"
            )

    def style(self) -> Style:
        """The options as the drawing wants them."""
        red, green, blue = bytes.fromhex(self.mask_color[1:])
        return Style(
            images=self.images,
            mask_color=(blue, green, red),
            mask_opacity=self.mask_opacity / 100 if self.show_mask else 0.0,
        )


class PreviewSheets:
    """Asks for previews when they are due and turns them into files.

    Args:
        run: the run to watch.
    """

    def __init__(self, run: Run) -> None:
        options: PreviewOptions = run.config[SECTION]
        self._run = run
        self._images = options.images
        self._style = options.style()
        self._schedule = Schedule(options.interval, run.info.start_step)
        self._folder = SheetFolder(run.info.model_dir / "previews", options.keep)

    def on_metrics(self, metrics: Metrics) -> None:
        """Ask for a preview if one is due by time or steps."""
        if self._schedule.due(metrics.step):
            self._run.request_preview(self._images)

    def on_checkpoint(self, saved: Saved) -> None:
        """Ask for a preview if saves are the pace now."""
        if self._schedule.due_at_save():
            self._run.request_preview(self._images)

    def on_preview(self, preview: Preview) -> None:
        """Draw the sheet and write it."""
        model = self._run.info.model
        sheet = compose(preview, f"{model} - step {preview.step}", self._style)
        self._folder.write(
            sheet, preview.step, f"Synthetic: made by the network {model} at step {preview.step}"
        )


@hookimpl
def config_defaults() -> dict[str, type]:
    """The section ``[preview]``."""
    return {SECTION: PreviewOptions}


@hookimpl
def make_observers(run: Run) -> list[PreviewSheets]:
    """The observer that writes the sheets."""
    return [PreviewSheets(run)]


@hookimpl
def before_training(run: Run) -> None:
    """Ask for a preview after the first step of the session."""
    run.request_preview(run.config[SECTION].images)
