"""Make trainers whose runs several processes share."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, hookimpl, option
from fs_kernel.types import Coordinator

from fs_nn.options import SamplerOptions
from fs_nn.training import TrainerPlugin

if TYPE_CHECKING:
    import torch


@attrs.frozen
class ProcessOptions(SamplerOptions):
    """Options of a trainer of several processes."""

    timeout: int = option(
        600,
        "Seconds after which a process that waits for another gives up; longer than the longest "
        "save.",
        minimum=1,
        maximum=86400,
    )


class ProcessTrainer(TrainerPlugin):
    """Implement the hooks of a trainer whose steps several processes share.

    `fs_nn.processes` is how they find each other, `fs_nn.launching` what starts them.
    """

    options = ProcessOptions

    @hookimpl
    def launch(self, argv: list[str], devices: int) -> int:
        """Start processes with torch's elastic launcher, and return their exit code."""
        from fs_nn.launching import launch

        return launch(argv, devices)

    @hookimpl
    def connect(self, device: str, config: Config) -> Coordinator | None:
        """Return how the processes that a launcher started with this one act, if it started any."""
        from fs_nn.coordination import ManyProcesses
        from fs_nn.processes import connect

        group = connect(device, config[self.section].timeout)
        return None if group is None or group.size == 1 else ManyProcesses(group)

    @hookimpl
    def fit_batch_size(self, batch_size: int, device: torch.device, config: Config) -> int:
        """Return the batch size, or as many faces as there are processes if that is more."""
        from fs_nn.processes import process_count

        size = process_count()
        if size < batch_size and batch_size % size:
            below = batch_size - batch_size % size
            warnings.warn(
                f"batch size {batch_size} does not divide by {size} processes, so some do more "
                f"than others; {below} and {below + size} do",
                stacklevel=2,
            )
        return max(batch_size, size)
