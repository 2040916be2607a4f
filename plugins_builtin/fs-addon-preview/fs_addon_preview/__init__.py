"""Draw a training: its first batch, what the network makes of a few faces, a timelapse."""

from __future__ import annotations

from fs_kernel import hookimpl
from fs_kernel.types import Run

from fs_addon_preview.observer import PreviewSheets
from fs_addon_preview.options import SECTION, PreviewOptions

__all__ = ["SECTION", "PreviewAddOn", "PreviewOptions", "PreviewSheets"]


class PreviewAddOn:
    """The pictures of one run; see `fs_kernel.types.AddOn`.

    Args:
        run: the run to draw.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def observers(self) -> list[PreviewSheets]:
        """Return the observer that writes the pictures."""
        return [PreviewSheets(self._run)]

    def before_training(self) -> None:
        """Ask for a preview after the first step of the session."""
        self._run.request_preview(self._run.config[SECTION].images)


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the section ``[preview]``."""
    return {SECTION: PreviewOptions}


@hookimpl
def create_addon(run: Run) -> PreviewAddOn:
    """Create the add-on of a run."""
    return PreviewAddOn(run)
