"""The standard trainer: both sides in one step, on one device.

A step runs every side through the network, adds up the sides' losses and goes back through the sum.
Then, or after as many batches as are accumulated, the weights change once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, hookimpl
from fs_kernel.types import Batch, Run, Sampler, Side, StepResult, Tree
from fs_nn.options import LossOptions, OptimizerOptions
from fs_nn.sampling import UniformSampler

if TYPE_CHECKING:
    from fs_nn.collate import LossCollator
    from fs_nn.optimizers import NamedOptimizer


@attrs.frozen
class Trainer:
    """What a session's steps need."""

    run: Run
    collate: LossCollator
    optimizer: NamedOptimizer


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"loss": LossOptions, "optimizer": OptimizerOptions}


@hookimpl
def batch_needs(config: Config) -> set[str]:
    return config["loss"].masks


@hookimpl
def get_sampler(sizes: Mapping[Side, int], batch_size: int, seed: int) -> Sampler:
    return UniformSampler(sizes, batch_size, seed)


@hookimpl
def start_trainer(run: Run) -> Trainer:
    from fs_nn.collate import build_collator
    from fs_nn.optimizers import build_optimizer

    return Trainer(
        run,
        build_collator(run, run.config["loss"]),
        build_optimizer(run, run.config["optimizer"]),
    )


@hookimpl
def train_batch(state: Trainer, batch: Batch) -> StepResult:
    predictions = state.run.forward(batch.inputs, training=True)
    sides = state.run.network.sides
    totals, losses = zip(*(state.collate(s, predictions, batch) for s in sides), strict=True)
    state.optimizer.backward(sum(totals))
    learning_rate = state.optimizer.learning_rate
    stepped = state.optimizer.step()
    return StepResult(losses, stepped=stepped, learning_rate=learning_rate)


@hookimpl
def trainer_state(state: Trainer) -> Tree:
    return {"optimizer": state.optimizer.state()}


@hookimpl
def restore_trainer(state: Trainer, tree: Tree) -> None:
    state.optimizer.restore(tree["optimizer"])
