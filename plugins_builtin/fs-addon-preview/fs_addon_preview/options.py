"""The options of the section ``[preview]``."""

from __future__ import annotations

import re
from typing import Any

import attrs
from fs_kernel import ConfigError, Interval, option

from fs_addon_preview.compose import Style

SECTION = "preview"


@attrs.frozen
class PreviewOptions:
    """Options of the section ``[preview]``; all of them may change during a run."""

    images: int = option(14, "Faces per side on a sheet.", choices=range(2, 17, 2), live=True)
    mask: bool = option(False, "Tint everything outside the mask, where faces have one.", live=True)
    mask_opacity: int = option(
        30, "Strength of the tint in per cent.", minimum=0, maximum=100, live=True
    )
    mask_color: str = option(
        "#ff0000", "Color of the tint and of the corner marks, as #rrggbb.", live=True
    )
    keep: int = option(
        30,
        "Sheets kept beside latest.png, spread evenly from the first to the newest; 0 for none.",
        minimum=0,
        maximum=10000,
        live=True,
    )
    interval: Interval = option(
        Interval(),
        "Pace of sheets in steps (500) or time ('5min'); 0 means after the first step, every "
        "minute for ten minutes, then at every save.",
        live=True,
    )
    timelapse: bool = option(
        False,
        "Keep a numbered picture in previews/timelapse at the start and at every save, for a film.",
        live=True,
    )

    @mask_color.validator
    def _check_color(self, attribute: Any, value: str) -> None:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise ConfigError(
                f"{SECTION}.mask_color: '{value}' is not a color; write # and six hex digits, "
                "for example #ff0000"
            )

    def style(self) -> Style:
        """Return the options as the drawing functions take them."""
        red, green, blue = bytes.fromhex(self.mask_color[1:])
        return Style(
            images=self.images,
            mask_color=(blue, green, red),
            mask_opacity=self.mask_opacity / 100 if self.mask else 0.0,
        )
