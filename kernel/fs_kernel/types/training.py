"""Records for turning batches into steps: trainers, objectives and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    import torch

    from fs_kernel.options.sources import Config
    from fs_kernel.types.data import Batch, Tree
    from fs_kernel.types.network import Output, Side


@attrs.frozen(eq=False)
class DeferredTensor:
    """Stand for a tensor in a tree that need not be copied before training continues.

    Attributes:
        tensor: returns it, contiguous, on the CPU and never changed; called while training
            continues, in the thread that writes. May raise OSError.
    """

    tensor: Callable[[], torch.Tensor]


@attrs.frozen
class LossContext:
    """What a loss may know besides the two pictures.

    Attributes:
        side: whose pictures they are.
        output: which output of the network is compared.
        step: the step they are for.
        masks: the masks in the batch at this size, by name, ``(n, 1, h, w)`` float32 0..1.
        landmarks: ``(n, 68, 2)`` float32, x and y as shares of the picture's edge, or None; see
            `BatchMeta.landmarks`.
        batch: the whole batch.
    """

    side: Side
    output: Output
    step: int
    masks: Mapping[str, torch.Tensor]
    landmarks: torch.Tensor | None
    batch: Batch


class LossFunction(Protocol):
    """Compare two pictures; what the hook ``create_loss`` returns, or a plain function.

    Two optional attributes say what it expects: ``color_order = "rgb"`` (channels in this order,
    even if the network has another) and ``masks_input = True`` (masks must be applied to the
    pictures, because the pixels of its map are not those of the picture).
    """

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return a map ``(n, c, h, w)`` or ``(n, 1, h, w)``, or one number per picture ``(n,)``.

        A third parameter called ``context`` is given a `LossContext`.

        Args:
            prediction: ``(n, c, h, w)`` float32, 0..1.
            target: the same shape.
        """


@attrs.frozen
class LossPart:
    """One loss function on one output.

    Attributes:
        function: name of the loss ("ssim").
        output: which output, e.g. "face_64" or "mask_64".
        weighted: scalar tensor, as it enters the total.
        unweighted: scalar tensor, without its weight.
    """

    function: str
    output: str
    weighted: torch.Tensor
    unweighted: torch.Tensor


@attrs.frozen
class BatchLoss:
    """The loss of one side on one batch: scalars on the device, detached, not yet read.

    Attributes:
        side: which side.
        total: sum of the weighted parts.
        parts: what it is made of.
    """

    side: Side
    total: torch.Tensor
    parts: tuple[LossPart, ...] = ()


@attrs.frozen
class StepResult:
    """What a trainer returns from a step.

    Attributes:
        losses: one per side, in the order of the sides.
        stepped: False while gradients are being accumulated or a step was skipped.
        sample_loss: per side ``(n,)``, for samplers that want it.
        learning_rate: the rate that was used, for those who watch.
        values: further numbers to report by name, scalars on the device, detached, not yet read.
    """

    losses: Sequence[BatchLoss]
    stepped: bool = True
    sample_loss: Mapping[Side, torch.Tensor] | None = None
    learning_rate: float | None = None
    values: Mapping[str, torch.Tensor] = attrs.field(factory=dict)


class Trainer(Protocol):
    """Train a network batch by batch; what the hook ``create_trainer`` returns.

    Only `train_step` is required. A trainer that adds the terms of ``run.objectives`` to its loss
    says so with a true attribute ``adds_objectives``; without it, a run with objectives is refused.
    """

    def train_step(self, batch: Batch) -> StepResult:
        """Run one step: forward, loss, backward, update.

        Args:
            batch: already on the run's device.

        Returns:
            Losses as detached device scalars; reading them here would stall the device.
        """

    def state_dict(self) -> Tree:
        """Return what a checkpoint must hold so that training continues exactly.

        Key what belongs to a weight by its name in ``run.parameters()``. Tensors are copied before
        training continues, except those in a `DeferredTensor`. The weights themselves, those of
        owned networks too, are saved by the kernel.
        """

    def load_state_dict(self, state: Tree) -> None:
        """Take over what `state_dict` returned; options that changed since then win.

        Args:
            state: with lists for tuples and its tensors on the CPU.
        """

    def on_options_changed(self, config: Config) -> None:
        """Take over options marked ``live`` that changed. Called between steps.

        Args:
            config: the plugin's sections as they are now.
        """

    def full_weights(self) -> AbstractContextManager[None]:
        """Return a context in which the network's own variables hold the full, newest weights.

        For a trainer that keeps the weights elsewhere, in shards say. The kernel reads, saves and
        changes weights only inside; all processes enter together. On leaving, weights that were
        changed are taken over.
        """

    def close(self, failed: bool) -> None:
        """Release what the trainer holds.

        Called before the trainer is created again in a session, and at the end of the session. The
        network's own variables hold the full weights afterwards, unless the session failed.

        Args:
            failed: the session ends with an error, so that other processes may be gone: do not
                wait for them.
        """


@attrs.frozen
class StateWriter:
    """Who wrote a trainer's or an add-on's state into a checkpoint.

    Attributes:
        name: what the plugin was called.
        distribution: the package it came in; None for a local file or an object.
        version: of that package.
    """

    name: str
    distribution: str | None
    version: str | None


class LossTerms(Protocol):
    """Add terms to the loss of any trainer: what trainers see of an `Objective`."""

    def terms(
        self, batch: Batch, outputs: Sequence[torch.Tensor]
    ) -> Mapping[Side, Mapping[str, torch.Tensor]]:
        """Return weighted terms per picture, with their graph.

        Called in every step between the forward and the backward pass. Each side's total grows by
        the mean of each of its terms, and the terms are reported as losses of the output
        "objective". Gradients that the backward pass leaves in owned networks are the objective's
        to clear.

        Args:
            batch: of the step.
            outputs: the network's, in the order of ``Network.outputs``, with their graph.

        Returns:
            Per side ``{name: (n,)}``; a side may be missing.
        """

    def train_step(self) -> Mapping[str, torch.Tensor]:
        """Train what the objective owns. Called once per batch after the trainer's update.

        Returns:
            Numbers to report by name: detached scalars, unread.
        """


class Objective(LossTerms, Protocol):
    """Add terms to the loss of any trainer; what the hook ``create_objective`` returns.

    Only `terms` is required. A GAN's generator term, an identity loss with a frozen network and a
    style loss are objectives: they compose, and work with every trainer that adds objectives.
    """

    def state_dict(self) -> Tree:
        """Return what a checkpoint must hold, except weights of owned networks."""

    def load_state_dict(self, state: Tree) -> None:
        """Take over what `state_dict` returned."""

    def on_options_changed(self, config: Config) -> None:
        """Take over options marked ``live`` that changed. Called between steps."""

    def close(self, failed: bool) -> None:
        """Release what the objective holds; see `Trainer.close`."""
