"""Weights, gradients and moments spread over several processes, with FSDP2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fs_kernel import hookimpl
from fs_kernel.types import Batch, Run, StepResult, Tree
from fs_nn.process_trainer import ProcessOptions, ProcessTrainer
from fs_nn.shares import weight_of, weighted
from fs_nn.training import Steps, sum_of_sides

if TYPE_CHECKING:
    from fs_trainer_fsdp.shards import Shards

NAME = "fsdp"


class ShardedSteps(Steps):
    """Steps of which every process does its share; a process alone does them whole.

    Attributes:
        shards: the network's weights; None for a process alone.
    """

    shards: Shards | None = None

    def __init__(self, run: Run, options: ProcessOptions) -> None:
        if run.group.size > 1:
            from fs_kernel.training.coordination import together
            from fs_nn.lowered import require_lowered

            from fs_trainer_fsdp.shards import require_optimizer, require_shardable, shard

            with together(run.group):
                module = require_lowered(run, NAME)
                require_shardable(run, module)
                require_optimizer(run, run.config["optimizer"].optimizer)
            self.shards = shard(module, run.network, run.device, run.group.size)
        super().__init__(run, options)

    def step(self, batch: Batch) -> StepResult:
        """One batch of this process; gradients are averaged and spread while they are made."""
        totals, losses = self.measure(batch)
        weight = weight_of(self.run, batch)
        self.optimizer.backward(sum_of_sides(totals) * weight)
        return self.update(totals, weighted(losses, weight))

    def state(self) -> Tree:
        """What `restore` needs; whole in process 0."""
        tree = super().state()
        if self.shards is None:
            return tree
        from fs_trainer_fsdp.written import settled

        return settled(tree, self.run.info.model_dir, self.run.group)

    @contextlib.contextmanager
    def whole_weights(self) -> Iterator[None]:
        """While the network's own variables hold the whole weights."""
        if self.shards is None:
            yield
            return
        self.shards.gather()
        try:
            yield
        finally:
            self.shards.spread()


class FsdpTrainer(ProcessTrainer):
    """The hooks of the trainer."""

    section = f"trainer.{NAME}"
    steps = ShardedSteps

    @hookimpl
    def whole_weights(self, state: ShardedSteps) -> contextlib.AbstractContextManager[None]:
        return state.whole_weights()

    @hookimpl
    def stop_trainer(self, state: ShardedSteps, failed: bool) -> None:
        if state.shards is not None and not failed:
            state.shards.gather()


plugin = FsdpTrainer()
