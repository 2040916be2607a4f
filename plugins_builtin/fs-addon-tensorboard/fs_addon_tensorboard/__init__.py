"""Write a run for TensorBoard: losses, learning rate, speed, other values, and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_kernel import hookimpl, option
from fs_kernel.types import Run

if TYPE_CHECKING:
    from fs_addon_tensorboard.observer import TensorBoard

SECTION = "addon.tensorboard"


@attrs.frozen
class TensorBoardOptions:
    """Options of the section ``[addon.tensorboard]``."""

    images: int = option(
        0,
        "Faces per side that each preview stores as pictures; 0 for none.",
        minimum=0,
        maximum=16,
    )


class TensorBoardAddOn:
    """The event files of one run; see `fs_kernel.types.AddOn`.

    Args:
        run: the run to record.
    """

    def __init__(self, run: Run) -> None:
        self._options: TensorBoardOptions = run.config[SECTION]

    def observers(self) -> list[TensorBoard]:
        """Return the observer that writes the event files."""
        from fs_addon_tensorboard.observer import TensorBoard

        return [TensorBoard(self._options.images)]


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the section ``[addon.tensorboard]``."""
    return {SECTION: TensorBoardOptions}


@hookimpl
def create_addon(run: Run) -> TensorBoardAddOn:
    """Create the add-on of a run."""
    return TensorBoardAddOn(run)
