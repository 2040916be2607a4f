"""Train with weights, gradients and moments sharded over several processes, with FSDP2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fs_kernel.types import Batch, Run, StepResult, Tree
from fs_nn.batch_weighting import weight_of, weighted
from fs_nn.process_trainer import ProcessOptions, ProcessTrainer
from fs_nn.training import TrainingSteps, sum_of_sides

if TYPE_CHECKING:
    from torch import nn

    from fs_trainer_fsdp.shards import Shards

NAME = "fsdp"


class ShardedSteps(TrainingSteps):
    """Do a process's part of each step; a process alone does the standard steps.

    Networks that objectives own are not sharded.

    Attributes:
        shards: the network's weights; None for a process alone.
    """

    shards: Shards | None = None

    def __init__(self, run: Run, options: ProcessOptions) -> None:
        if run.group.size > 1:
            self.shards = _sharded(run)
        super().__init__(run, options)

    def train_step(self, batch: Batch) -> StepResult:
        """Run one step of this process; gradients are averaged and sharded while they are made."""
        totals, losses = self.measure(batch)
        weight = weight_of(self.run, batch)
        self.optimizer.backward(sum_of_sides(totals) * weight)
        return self.update(totals, weighted(losses, weight))

    def state_dict(self) -> Tree:
        """Return the optimizer's state, with full tensors in process 0."""
        tree = super().state_dict()
        if self.shards is None:
            return tree
        from fs_nn.processes import processes_of

        from fs_trainer_fsdp.written import with_full_tensors

        return with_full_tensors(tree, self.run.info.model_dir, processes_of(self.run))

    @contextlib.contextmanager
    def full_weights(self) -> Iterator[None]:
        """Return a context in which the network's own variables hold the full weights."""
        if self.shards is None:
            yield
            return
        self.shards.gather()
        try:
            yield
        finally:
            self.shards.shard()

    def close(self, failed: bool) -> None:
        """Let the network's own variables hold the full weights, unless the session failed."""
        if self.shards is not None and not failed:
            self.shards.gather()


def _sharded(run: Run) -> Shards:
    """Return the shards of the run's network, or fail in all processes."""
    from fs_nn.coordination import ManyProcesses
    from fs_nn.lowering import require_lowered
    from fs_nn.processes import processes_of

    from fs_trainer_fsdp.shards import require_optimizer, require_shardable, shard

    def checked_module() -> nn.Module:
        module = require_lowered(run, NAME)
        require_shardable(run, module)
        require_optimizer(run, run.config["optimizer"])
        return module

    module = ManyProcesses(processes_of(run)).everywhere(checked_module)
    return shard(module, run.network, run.device, run.group.size)


class FsdpTrainer(ProcessTrainer):
    """Train with `ShardedSteps`."""

    section = f"trainer.{NAME}"
    steps = ShardedSteps


plugin = FsdpTrainer()
