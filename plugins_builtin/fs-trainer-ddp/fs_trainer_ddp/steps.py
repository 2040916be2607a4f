"""Average the gradients of a step over processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from fs_kernel.types import Batch, Run, StepResult, Tree
from fs_nn.batch_weighting import weight_of, weighted
from fs_nn.training import TrainingSteps, sum_of_sides
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from fs_trainer_ddp import DdpOptions


class _Measuring(nn.Module):
    """Hold the run's weights, with forward pass and loss in one: what DDP wraps.

    With the loss inside, DDP knows of a weight that no loss depends on that it gets no gradient.
    What layers learn without gradients (batch normalization) stays with each process until the
    kernel averages it for a save. Networks that objectives own are not among the weights: their
    gradients are the objective's to average.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], measure: Callable[[Batch], Any]
    ) -> None:
        super().__init__()
        for number, parameter in enumerate(parameters.values()):
            self.register_parameter(f"weight_{number}", parameter)
        self._measure = measure

    def forward(self, batch: Batch) -> Any:
        return self._measure(batch)


class DdpSteps(TrainingSteps):
    """Do the steps of one process; alone, they are the standard ones."""

    def __init__(self, run: Run, options: DdpOptions) -> None:
        super().__init__(run, options)
        self._ddp: DistributedDataParallel | None = None
        if run.group.size > 1:
            self._group: Any = run.group
            self._ddp = self._wrapped(options)

    def _wrapped(self, options: DdpOptions) -> DistributedDataParallel:
        ddp = DistributedDataParallel(
            _Measuring(self.run.parameters(), self.measure),
            process_group=self._group.gradients,
            # A network may have outputs or parts without a loss. It also keeps the buckets as they
            # are, so that a resumed run adds up gradients in the same order.
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )
        if options.compression == "bf16":
            # By its own name torch refuses its hook without a GPU, where it works, too.
            hook = default_hooks.bf16_compress_hook
            ddp.register_comm_hook(self._group.gradients, lambda group, bucket: hook(group, bucket))
        return ddp

    def train_step(self, batch: Batch) -> StepResult:
        """Run one step of this process; gradients travel only when the weights change."""
        if self._ddp is None:
            return super().train_step(batch)
        weight = weight_of(self.run, batch)
        quiet = contextlib.nullcontext if self.optimizer.completes else self._ddp.no_sync
        with quiet():
            totals, losses = self._ddp(batch)
            self.optimizer.backward(sum_of_sides(totals) * weight)
        return self.update(totals, weighted(losses, weight))

    def state_dict(self) -> Tree:
        """Return the optimizer's state; gradients that wait become the mean of all processes'."""
        if self._ddp is not None:
            for gradient in self.optimizer.accumulated_gradients().values():
                dist.all_reduce(gradient, group=self._group.gradients)
                gradient /= self.run.group.size
        return super().state_dict()

    def close(self, failed: bool) -> None:
        """Take DDP's hooks off the weights."""
        self._ddp = None
