"""What trainers share whose runs are several processes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, hookimpl, option
from fs_kernel.types import Group

from fs_nn.options import SamplerOptions
from fs_nn.training import TrainerPlugin

if TYPE_CHECKING:
    import torch


@attrs.frozen
class ProcessOptions(SamplerOptions):
    """The section of a trainer of several processes."""

    timeout: int = option(
        600,
        "Seconds after which a process that waits for another gives up; longer than the longest "
        "save.",
        minimum=1,
        maximum=86400,
    )


class ProcessTrainer(TrainerPlugin):
    """The hooks of a trainer whose steps several processes share.

    `fs_nn.processes` is how they find each other, `fs_nn.launching` what starts them.
    """

    options = ProcessOptions

    @hookimpl
    def launch(self, argv: list[str], devices: int) -> int:
        """Torch's elastic launcher."""
        from fs_nn.launching import launch

        return launch(argv, devices)

    @hookimpl
    def join_group(self, device: str, config: Config) -> Group | None:
        """The processes that a launcher started with this one, if one did."""
        from fs_nn.processes import join

        return join(device, config[self.section].timeout)

    @hookimpl
    def fit_batch_size(self, batch_size: int, device: torch.device, config: Config) -> int:
        """At least one face per process."""
        from fs_nn.processes import joined

        size = joined()
        if size < batch_size and batch_size % size:
            below = batch_size - batch_size % size
            warnings.warn(
                f"batch size {batch_size} does not divide by {size} processes, so some do more "
                f"than others; {below} and {below + size} do",
                stacklevel=2,
            )
        return max(batch_size, size)
