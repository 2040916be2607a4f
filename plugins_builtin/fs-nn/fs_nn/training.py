"""Make trainers of this library's parts: a step, and the hooks around it.

A trainer is a `TrainerPlugin` with its own section of options, and with other `TrainingSteps` where
its network runs otherwise. A step runs every side through the network, adds up the sides' losses
and runs the backward pass through the sum. Then, or after as many batches as are accumulated, the
weights change once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from fs_kernel import Config, hookimpl
from fs_kernel.types import Batch, BatchLoss, Run, Sampler, Side, StateWriter, StepResult, Tree

from fs_nn.options import LossOptions, OptimizerOptions, SamplerOptions
from fs_nn.sampling import build_sampler

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fs_nn.optimizers import ManagedOptimizer

#: What `ManagedOptimizer.state_dict` always holds, whichever trainer wrote it.
_OPTIMIZER_KEYS = frozenset({"weights", "steps", "accumulated", "scaler", "clipping", "average"})


def sum_of_sides(totals: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the loss of a step, a scalar, from each side's totals per picture ``(n,)``."""
    means = [total.mean() for total in totals]
    return sum(means[1:], start=means[0])


class TrainingSteps:
    """Do the steps of a session: the `fs_kernel.types.Trainer` of a `TrainerPlugin`.

    Args:
        run: the run.
        options: the section of the trainer.

    Attributes:
        adds_objectives: it adds the terms of the run's objectives.
        run: the run.
        loss: the options that ``masked_loss`` follows.
        masked_loss: the loss of a side.
        optimizer: changes the weights.
        reports_samples: whether the sampler wants the loss of each face.
    """

    adds_objectives = True

    def __init__(self, run: Run, options: SamplerOptions) -> None:
        from fs_nn.masked_loss import build_masked_loss

        self.run = run
        self.loss: LossOptions = run.config["loss"]
        self.masked_loss = build_masked_loss(run, self.loss)
        self.optimizer = self.make_optimizer()
        self.reports_samples = options.sampler == "loss"
        self.objectives = list(run.objectives)

    def make_optimizer(self) -> ManagedOptimizer:
        """Return the optimizer of the run's weights."""
        from fs_nn.optimizers import build_optimizer

        return build_optimizer(self.run, self.run.config["optimizer"])

    def measure(self, batch: Batch) -> tuple[Sequence[torch.Tensor], Sequence[BatchLoss]]:
        """Run the network, compare, and add what objectives add.

        Returns:
            In the order of the sides: a total per picture ``(n,)`` with its graph, and the side's
            loss, detached.
        """
        predictions = self.run.forward(batch.inputs, training=True)
        sides = self.run.network.sides
        measured = [self.masked_loss.per_picture(side, predictions, batch) for side in sides]
        if self.objectives:
            from fs_nn.objectives import add_terms

            measured = add_terms(self.objectives, measured, batch, predictions)
        return [totals for totals, _ in measured], [loss for _, loss in measured]

    def train_step(self, batch: Batch) -> StepResult:
        """Run one step: forward, loss, backward, and update if it is time."""
        totals, losses = self.measure(batch)
        self.optimizer.backward(sum_of_sides(totals))
        return self.update(totals, losses)

    def update(self, totals: Sequence[torch.Tensor], losses: Sequence[BatchLoss]) -> StepResult:
        """Change the weights if it is time, let objectives train what they own, and report.

        Args:
            totals: from `measure`, after the backward pass.
            losses: from `measure`.
        """
        learning_rate = self.optimizer.learning_rate
        stepped = self.optimizer.step()
        values: dict[str, torch.Tensor] = {}
        for objective in self.objectives:
            values.update(objective.train_step())
        sides = self.run.network.sides
        samples = dict(zip(sides, (total.detach() for total in totals), strict=True))
        return StepResult(
            losses,
            stepped=stepped,
            sample_loss=samples if self.reports_samples else None,
            learning_rate=learning_rate,
            values=values,
        )

    def state_dict(self) -> Tree:
        """Return the optimizer's state; see `ManagedOptimizer.state_dict`."""
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Tree) -> None:
        """Take over what `state_dict` returned; options that changed since then win."""
        self.optimizer.load_state_dict(state["optimizer"])

    def on_options_changed(self, config: Config) -> None:
        """Take over options that changed during the run."""
        from fs_nn.masked_loss import build_masked_loss
        from fs_nn.optimizers import change_optimizer

        if config["loss"] != self.loss:
            self.masked_loss = build_masked_loss(self.run, config["loss"])
            self.loss = config["loss"]
        change_optimizer(self.optimizer, config["optimizer"], self.run.device)

    @contextlib.contextmanager
    def full_weights(self) -> Iterator[None]:
        """Do nothing: the network's own variables always hold the weights."""
        yield

    def close(self, failed: bool) -> None:
        """Do nothing: what the steps hold goes with them."""


class TrainerPlugin:
    """Implement the hooks of a trainer whose steps are `TrainingSteps`.

    Attributes:
        section: the name of its own section of options.
        options: the class of that section.
        steps: the class of the steps of a session.
    """

    section: ClassVar[str]
    options: ClassVar[type[SamplerOptions]] = SamplerOptions
    steps: ClassVar[type[TrainingSteps]] = TrainingSteps

    @hookimpl
    def config_defaults(self) -> dict[str, type]:
        """Return ``[loss]``, ``[optimizer]`` and its own section."""
        return {"loss": LossOptions, "optimizer": OptimizerOptions, self.section: self.options}

    @hookimpl
    def required_fields(self, config: Config) -> set[str]:
        """Return the masks of the loss."""
        masks: set[str] = config["loss"].masks
        return masks

    @hookimpl
    def get_sampler(
        self,
        sizes: Mapping[Side, int],
        batch_size: int,
        seed: int,
        delay: int,
        face_attributes: Mapping[Side, Mapping[str, np.ndarray]],
        config: Config,
    ) -> Sampler:
        """Return the sampler that the options name."""
        kind = config[self.section].sampler
        return build_sampler(kind, sizes, batch_size, seed, delay, face_attributes)

    @hookimpl
    def create_trainer(self, run: Run) -> TrainingSteps:
        """Return its steps."""
        return self.steps(run, run.config[self.section])

    @hookimpl
    def accepts_state(self, state: Tree, writer: StateWriter) -> bool:
        """Accept the state of every trainer whose steps are `TrainingSteps`, by its structure."""
        return _is_ours(state)

    @hookimpl
    def averaged_weights(self, state: Tree) -> dict[str, torch.Tensor] | None:
        """Return the optimizer's average, if it keeps one."""
        average = state["optimizer"]["average"] if _is_ours(state) else None
        return None if average is None else dict(average["weights"])


def _is_ours(state: Tree) -> bool:
    optimizer = state.get("optimizer") if isinstance(state, Mapping) else None
    return isinstance(optimizer, Mapping) and optimizer.keys() >= _OPTIMIZER_KEYS
