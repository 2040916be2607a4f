"""Pictures of a training: its first batch, what the network makes of a few faces, a timelapse."""

from __future__ import annotations

from fs_kernel import hookimpl
from fs_kernel.types import Run

from fs_addon_preview.observer import PreviewSheets
from fs_addon_preview.options import SECTION, PreviewOptions

__all__ = ["SECTION", "PreviewOptions", "PreviewSheets"]


@hookimpl
def config_defaults() -> dict[str, type]:
    """The section ``[preview]``."""
    return {SECTION: PreviewOptions}


@hookimpl
def make_observers(run: Run) -> list[PreviewSheets]:
    """The observer that writes the pictures."""
    return [PreviewSheets(run)]


@hookimpl
def before_training(run: Run) -> None:
    """Ask for a preview after the first step of the session."""
    run.request_preview(run.config[SECTION].images)
