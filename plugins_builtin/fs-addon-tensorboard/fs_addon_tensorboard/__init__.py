"""A run for TensorBoard: losses and their parts, learning rate, speed, and pictures if wanted."""

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


@hookimpl
def config_defaults() -> dict[str, type]:
    """The section ``[addon.tensorboard]``."""
    return {SECTION: TensorBoardOptions}


@hookimpl
def make_observers(run: Run) -> list[TensorBoard]:
    """The observer that writes the event files."""
    from fs_addon_tensorboard.observer import TensorBoard

    return [TensorBoard(run.config[SECTION].images)]
