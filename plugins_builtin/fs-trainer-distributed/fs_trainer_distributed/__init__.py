"""All GPUs of a machine in one process, with `torch.nn.DataParallel`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fs_kernel import Config, hookimpl
from fs_kernel.types import Batch, BatchLoss, Run
from fs_nn.options import SamplerOptions
from fs_nn.training import Steps, TrainerPlugin

if TYPE_CHECKING:
    import torch

    from fs_trainer_distributed.replicas import Replicas


class ParallelSteps(Steps):
    """Steps whose batch is shared by the visible GPUs; with one or none, steps as they are."""

    def __init__(self, run: Run, options: SamplerOptions) -> None:
        from fs_trainer_distributed import gpus

        super().__init__(run, options)
        self._gpus = gpus.visible(run.device)
        self.replicas = self._replicas() if len(self._gpus) > 1 else None

    def _replicas(self) -> Replicas:
        from fs_nn.lowered import require_lowered

        from fs_trainer_distributed.replicas import Replicas, WrappedModel

        collators = {gpu: self.collate.on(gpu) for gpu in self._gpus}
        module = require_lowered(self.run, "distributed")
        return Replicas(WrappedModel(module, self.run.network, collators), self._gpus)

    def measure(self, batch: Batch) -> tuple[Sequence[torch.Tensor], Sequence[BatchLoss]]:
        """Run the network and compare, every GPU its share."""
        return super().measure(batch) if self.replicas is None else self.replicas.measure(batch)

    def change(self, config: Config) -> None:
        """Take over options that changed while the run goes on."""
        before = self.collate
        super().change(config)
        if self.replicas is not None and self.collate is not before:
            self.replicas = self._replicas()


class DistributedTrainer(TrainerPlugin):
    """The hooks of the trainer."""

    section = "trainer.distributed"
    steps = ParallelSteps

    @hookimpl
    def fit_batch_size(self, batch_size: int, device: torch.device) -> int:
        from fs_trainer_distributed import gpus

        found = gpus.visible(device)
        if len(found) < 2:
            seen = "one GPU" if found else "no GPU"
            warnings.warn(
                f"trainer 'distributed' sees {seen} and trains as 'standard' would", stacklevel=2
            )
            return batch_size
        gpus.warn_of_unequal(found)
        return gpus.fitting_batch(batch_size, len(found))


plugin = DistributedTrainer()
