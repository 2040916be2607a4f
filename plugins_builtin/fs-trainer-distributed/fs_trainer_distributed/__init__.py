"""Train on all GPUs of a machine in one process, with `torch.nn.DataParallel`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fs_kernel import Config, hookimpl
from fs_kernel.errors import ConfigError
from fs_kernel.types import Batch, BatchLoss, Run
from fs_nn.options import SamplerOptions
from fs_nn.training import TrainerPlugin, TrainingSteps

if TYPE_CHECKING:
    import torch

    from fs_trainer_distributed.replicas import Replicas


class ParallelSteps(TrainingSteps):
    """Share each batch between the visible GPUs; with one or none, do the standard steps."""

    def __init__(self, run: Run, options: SamplerOptions) -> None:
        from fs_trainer_distributed import gpus

        super().__init__(run, options)
        self._gpus = gpus.visible(run.device)
        shares = len(self._gpus) > 1
        if shares and self.objectives:
            raise ConfigError(
                "trainer 'distributed' cannot add objectives on several GPUs; choose trainer 'ddp' "
                "(fs run --devices), or let it see one GPU with CUDA_VISIBLE_DEVICES"
            )
        self.replicas = self._replicas() if shares else None

    def _replicas(self) -> Replicas:
        from fs_nn.lowering import require_lowered

        from fs_trainer_distributed.replicas import Replicas, WrappedModel

        losses = {gpu: self.masked_loss.on(gpu) for gpu in self._gpus}
        module = require_lowered(self.run, "distributed")
        return Replicas(WrappedModel(module, self.run.network, losses), self._gpus)

    def measure(self, batch: Batch) -> tuple[Sequence[torch.Tensor], Sequence[BatchLoss]]:
        """Run the network and compare, every GPU its part of the batch."""
        return super().measure(batch) if self.replicas is None else self.replicas.measure(batch)

    def on_options_changed(self, config: Config) -> None:
        """Take over options that changed during the run."""
        before = self.masked_loss
        super().on_options_changed(config)
        if self.replicas is not None and self.masked_loss is not before:
            self.replicas = self._replicas()


class DistributedTrainer(TrainerPlugin):
    """Implement the hooks of the trainer."""

    section = "trainer.distributed"
    steps = ParallelSteps

    @hookimpl
    def fit_batch_size(self, batch_size: int, device: torch.device) -> int:
        """Return the batch size, or as many faces as there are GPUs if that is more."""
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
