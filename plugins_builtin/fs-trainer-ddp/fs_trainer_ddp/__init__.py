"""One process per device, on one machine or many: `torch.nn.parallel.DistributedDataParallel`.

Each process trains its slots of every batch on a copy of the network, and the gradients of the sum
over the sides are averaged while they are made. `fs_nn.processes` is how the processes find each
other, `fs_nn.launching` what starts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_kernel import hookimpl, option
from fs_kernel.types import Run
from fs_nn.process_trainer import ProcessOptions, ProcessTrainer

if TYPE_CHECKING:
    from fs_trainer_ddp.steps import DdpSteps


@attrs.frozen
class DdpOptions(ProcessOptions):
    """How processes share their work."""

    compression: str = option(
        "none",
        "Number format of gradients on their way between processes; bf16 halves the traffic.",
        choices=("none", "bf16"),
    )


class DdpTrainer(ProcessTrainer):
    """The standard steps, shared by processes."""

    section = "trainer.ddp"
    options = DdpOptions

    @hookimpl
    def start_trainer(self, run: Run) -> DdpSteps:
        """The steps of this process."""
        from fs_trainer_ddp.steps import DdpSteps

        return DdpSteps(run, run.config[self.section])

    @hookimpl
    def stop_trainer(self, state: DdpSteps, failed: bool) -> None:
        """Takes the hooks off the weights."""
        state.stop()


plugin = DdpTrainer()
