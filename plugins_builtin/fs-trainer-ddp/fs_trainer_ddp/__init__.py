"""Train in one process per device, on one machine or many, with `DistributedDataParallel`.

Each process trains its places of every batch on a copy of the network, and the gradients of the sum
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
    """Train with the standard steps, shared by processes."""

    section = "trainer.ddp"
    options = DdpOptions

    @hookimpl
    def create_trainer(self, run: Run) -> DdpSteps:
        """Return the steps of this process."""
        from fs_trainer_ddp.steps import DdpSteps

        return DdpSteps(run, run.config[self.section])


plugin = DdpTrainer()
