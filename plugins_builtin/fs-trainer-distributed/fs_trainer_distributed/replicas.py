"""Compute parts of a batch on several GPUs, and merge their losses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fs_kernel.types import Batch, BatchLoss, BatchMeta, LossPart, Network, Side
from fs_nn.masked_loss import MaskedLoss
from torch import Tensor, nn

Inputs = Mapping[Side, Tensor]
Targets = Mapping[Side, Sequence[Tensor | None]]
Masks = Mapping[Side, Mapping[str, Mapping[int, Tensor]]]
Landmarks = Mapping[Side, Tensor]


class WrappedModel(nn.Module):
    """Hold the network and its loss: what one GPU does with its part of a batch.

    Args:
        module: runs the network; its parameters are the network's own.
        network: what it is.
        losses: the loss of a side, by the device it works on.
    """

    def __init__(
        self,
        module: nn.Module,
        network: Network,
        losses: Mapping[torch.device, MaskedLoss],
    ) -> None:
        super().__init__()
        self.module = module
        self.losses = dict(losses)
        self._network = network

    def forward(
        self, step: int, inputs: Inputs, targets: Targets, masks: Masks, landmarks: Landmarks
    ) -> list[dict[str, Any]]:
        """Run forward pass and loss on one device.

        Args:
            step: of `fs_kernel.types.Batch`.
            inputs: the same.
            targets: the same.
            masks: of `fs_kernel.types.BatchMeta`, whose indices a part of a batch does not have.
            landmarks: the same.

        Returns:
            Per side, in order: ``totals``, ``(n,)`` with its graph, and ``loss``, the side's
            `fs_kernel.types.BatchLoss`.
        """
        sides = self._network.sides
        pictures = [inputs[side] for side in sides]
        predictions = self.module(*pictures)
        measure = self.losses[pictures[0].device].per_picture
        batch = Batch(step, inputs, targets, BatchMeta({}, masks, landmarks))
        measured = (measure(side, predictions, batch) for side in sides)
        return [{"totals": totals, "loss": loss} for totals, loss in measured]


class Replicas(nn.DataParallel[WrappedModel]):
    """Run a `WrappedModel` with `torch.nn.DataParallel`; the result is the loss of the whole batch.

    Args:
        model: on the first of the devices.
        gpus: on which it runs.
    """

    def __init__(self, model: WrappedModel, gpus: Sequence[torch.device]) -> None:
        with warnings.catch_warnings():
            # Unequal GPUs were warned of when the batch was fitted to them.
            warnings.simplefilter("ignore")
            super().__init__(model, list(gpus))

    def measure(self, batch: Batch) -> tuple[list[Tensor], list[BatchLoss]]:
        """Run and compare; see `fs_nn.training.TrainingSteps.measure`."""
        if not self.training:
            self.train()
        masks = {side: dict(held) for side, held in batch.meta.masks.items()}
        parts = batch.step, dict(batch.inputs), dict(batch.targets), masks
        sides = self(*parts, dict(batch.meta.landmarks))
        return [totals for totals, _ in sides], [loss for _, loss in sides]

    def gather(
        self, outputs: Sequence[list[dict[str, Any]]], output_device: int | torch.device
    ) -> list[tuple[Tensor, BatchLoss]]:
        """Return what the GPUs measured as one GPU would have measured it. Called by `forward`."""
        return [merged(shares, output_device) for shares in zip(*outputs, strict=True)]


def merged(
    shares: Sequence[Mapping[str, Any]], device: int | torch.device
) -> tuple[Tensor, BatchLoss]:
    """Return the loss of one side over all parts of the batch: the mean over its pictures.

    Args:
        shares: what `WrappedModel` returned for the side, in the order of the batch.
        device: where the result goes.
    """
    totals = torch.cat([share["totals"].to(device) for share in shares])
    sizes = [len(share["totals"]) for share in shares]

    def mean(values: Sequence[Tensor]) -> Tensor:
        parts = (v.to(device) * n for v, n in zip(values, sizes, strict=True))
        return torch.stack(list(parts)).sum() / len(totals)

    losses: list[BatchLoss] = [share["loss"] for share in shares]
    parts = tuple(
        LossPart(
            part[0].function,
            part[0].output,
            mean([p.weighted for p in part]),
            mean([p.unweighted for p in part]),
        )
        for part in zip(*(loss.parts for loss in losses), strict=True)
    )
    return totals, BatchLoss(losses[0].side, totals.detach().mean(), parts)
