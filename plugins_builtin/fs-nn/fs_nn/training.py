"""What trainers share: a step made of this library's parts, and the hooks around it.

A trainer is a `TrainerPlugin` with its own section of options, and with other `Steps` where its
network runs otherwise. A step runs every side through the network, adds up the sides' losses and
goes back through the sum. Then, or after as many batches as are accumulated, the weights change
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from fs_kernel import Config, hookimpl
from fs_kernel.types import Batch, BatchLoss, Run, Sampler, Side, StepResult, Tree

from fs_nn.options import LossOptions, OptimizerOptions, SamplerOptions
from fs_nn.sampling import build_sampler

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fs_nn.optimizers import NamedOptimizer


def sum_of_sides(totals: Sequence[torch.Tensor]) -> torch.Tensor:
    """The loss of a step, a scalar, from each side's totals per picture ``(n,)``."""
    means = [total.mean() for total in totals]
    return sum(means[1:], start=means[0])


class Steps:
    """The steps of a session.

    Args:
        run: the run.
        options: the section of the trainer.

    Attributes:
        run: the run.
        loss: the options that ``collate`` follows.
        collate: the loss of a side.
        optimizer: changes the weights.
        tells_samples: whether the sampler wants the loss of each face.
    """

    def __init__(self, run: Run, options: SamplerOptions) -> None:
        from fs_nn.collate import build_collator

        self.run = run
        self.loss: LossOptions = run.config["loss"]
        self.collate = build_collator(run, self.loss)
        self.optimizer = self.make_optimizer()
        self.tells_samples = options.sampler == "loss"

    def make_optimizer(self) -> NamedOptimizer:
        """The optimiser of the run's weights."""
        from fs_nn.optimizers import build_optimizer

        return build_optimizer(self.run, self.run.config["optimizer"])

    def measure(self, batch: Batch) -> tuple[Sequence[torch.Tensor], Sequence[BatchLoss]]:
        """Run the network and compare.

        Returns:
            In the order of the sides: a total per picture ``(n,)`` with its graph, and the side's
            loss, detached.
        """
        predictions = self.run.forward(batch.inputs, training=True)
        sides = self.run.network.sides
        measured = [self.collate.of_pictures(side, predictions, batch) for side in sides]
        return [totals for totals, _ in measured], [loss for _, loss in measured]

    def step(self, batch: Batch) -> StepResult:
        """One batch: forward, loss, backward, and update if it is time."""
        totals, losses = self.measure(batch)
        self.optimizer.backward(sum_of_sides(totals))
        return self.update(totals, losses)

    def update(self, totals: Sequence[torch.Tensor], losses: Sequence[BatchLoss]) -> StepResult:
        """What follows the backward pass: change the weights if it is time, and report.

        Args:
            totals: from `measure`.
            losses: from `measure`.
        """
        learning_rate = self.optimizer.learning_rate
        stepped = self.optimizer.step()
        sides = self.run.network.sides
        samples = dict(zip(sides, (total.detach() for total in totals), strict=True))
        return StepResult(
            losses,
            stepped=stepped,
            sample_loss=samples if self.tells_samples else None,
            learning_rate=learning_rate,
        )

    def state(self) -> Tree:
        """What `restore` needs."""
        return {"optimizer": self.optimizer.state()}

    def restore(self, tree: Tree) -> None:
        """Take over what `state` gave; options that changed since then win."""
        self.optimizer.restore(tree["optimizer"])

    def change(self, config: Config) -> None:
        """Take over options that changed while the run goes on."""
        from fs_nn.collate import build_collator
        from fs_nn.optimizers import change_optimizer

        if config["loss"] != self.loss:
            self.collate = build_collator(self.run, config["loss"])
            self.loss = config["loss"]
        change_optimizer(self.optimizer, config["optimizer"], self.run.device)


class TrainerPlugin:
    """The hooks of a trainer whose steps are `Steps`.

    Attributes:
        section: the name of its own section of options.
        options: the class of that section.
        steps: makes the steps of a session.
    """

    section: ClassVar[str]
    options: ClassVar[type[SamplerOptions]] = SamplerOptions
    steps: ClassVar[type[Steps]] = Steps

    @hookimpl
    def config_defaults(self) -> dict[str, type]:
        """``[loss]``, ``[optimizer]`` and its own."""
        return {"loss": LossOptions, "optimizer": OptimizerOptions, self.section: self.options}

    @hookimpl
    def batch_needs(self, config: Config) -> set[str]:
        """The masks of the loss."""
        masks: set[str] = config["loss"].masks
        return masks

    @hookimpl
    def get_sampler(
        self,
        sizes: Mapping[Side, int],
        batch_size: int,
        seed: int,
        lag: int,
        facts: Mapping[Side, Mapping[str, np.ndarray]],
        config: Config,
    ) -> Sampler:
        """The sampler that the options name."""
        return build_sampler(config[self.section].sampler, sizes, batch_size, seed, lag, facts)

    @hookimpl
    def start_trainer(self, run: Run) -> Steps:
        """Its steps."""
        return self.steps(run, run.config[self.section])

    @hookimpl
    def train_batch(self, state: Steps, batch: Batch) -> StepResult:
        """One step."""
        return state.step(batch)

    @hookimpl
    def trainer_state(self, state: Steps) -> Tree:
        """The optimiser's."""
        return state.state()

    @hookimpl
    def restore_trainer(self, state: Steps, tree: Tree) -> None:
        """The optimiser's."""
        state.restore(tree)

    @hookimpl
    def change_options(self, state: Steps, config: Config) -> None:
        """The loss, the rate and what else is live."""
        state.change(config)

    @hookimpl
    def averaged_weights(self, tree: Tree) -> dict[str, torch.Tensor] | None:
        """The optimiser's average, if it keeps one."""
        average = tree["optimizer"]["average"]
        return None if average is None else dict(average["weights"])
