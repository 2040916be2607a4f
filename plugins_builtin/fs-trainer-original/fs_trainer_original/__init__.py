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
from fs_nn.options import LossOptions, OptimizerOptions, SamplerOptions
from fs_nn.sampling import build_sampler

if TYPE_CHECKING:
    import numpy as np
    import torch
    from fs_nn.collate import LossCollator
    from fs_nn.optimizers import NamedOptimizer


#: The plugin's own section.
SECTION = "trainer.original"


@attrs.define
class Trainer:
    """What a session's steps need.

    Attributes:
        run: the run.
        loss: the options that ``collate`` follows.
        collate: the loss of a side.
        optimizer: changes the weights.
        tells_samples: whether the sampler wants the loss of each face.
    """

    run: Run
    loss: LossOptions
    collate: LossCollator
    optimizer: NamedOptimizer
    tells_samples: bool


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"loss": LossOptions, "optimizer": OptimizerOptions, SECTION: SamplerOptions}


@hookimpl
def batch_needs(config: Config) -> set[str]:
    return config["loss"].masks


@hookimpl
def get_sampler(
    sizes: Mapping[Side, int],
    batch_size: int,
    seed: int,
    lag: int,
    facts: Mapping[Side, Mapping[str, np.ndarray]],
    config: Config,
) -> Sampler:
    return build_sampler(config[SECTION].sampler, sizes, batch_size, seed, lag, facts)


@hookimpl
def start_trainer(run: Run) -> Trainer:
    from fs_nn.collate import build_collator
    from fs_nn.optimizers import build_optimizer

    loss, optimizer = run.config["loss"], run.config["optimizer"]
    return Trainer(
        run,
        loss,
        build_collator(run, loss),
        build_optimizer(run, optimizer),
        tells_samples=run.config[SECTION].sampler == "loss",
    )


@hookimpl
def train_batch(state: Trainer, batch: Batch) -> StepResult:
    predictions = state.run.forward(batch.inputs, training=True)
    sides = state.run.network.sides
    totals, losses = zip(
        *(state.collate.of_pictures(side, predictions, batch) for side in sides), strict=True
    )
    state.optimizer.backward(sum(total.mean() for total in totals))
    learning_rate = state.optimizer.learning_rate
    stepped = state.optimizer.step()
    samples = dict(zip(sides, (total.detach() for total in totals), strict=True))
    return StepResult(
        losses,
        stepped=stepped,
        sample_loss=samples if state.tells_samples else None,
        learning_rate=learning_rate,
    )


@hookimpl
def trainer_state(state: Trainer) -> Tree:
    return {"optimizer": state.optimizer.state()}


@hookimpl
def restore_trainer(state: Trainer, tree: Tree) -> None:
    state.optimizer.restore(tree["optimizer"])


@hookimpl
def change_options(state: Trainer, config: Config) -> None:
    from fs_nn.collate import build_collator
    from fs_nn.optimizers import change_optimizer

    if config["loss"] != state.loss:
        state.collate = build_collator(state.run, config["loss"])
        state.loss = config["loss"]
    change_optimizer(state.optimizer, config["optimizer"], state.run.device)


@hookimpl
def averaged_weights(tree: Tree) -> dict[str, torch.Tensor] | None:
    average = tree["optimizer"]["average"]
    return None if average is None else dict(average["weights"])
