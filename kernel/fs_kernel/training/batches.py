"""Batches as trees of tensors: moved to a device, or made larger for a trial of sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from fs_kernel.types import Batch

if TYPE_CHECKING:
    import torch


def mapped(batch: Batch, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """Return the batch with ``function`` of every tensor."""

    def walk(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [walk(item) for item in node]
        return node if node is None else function(node)

    meta = attrs.evolve(
        batch.meta, masks=walk(batch.meta.masks), landmarks=walk(batch.meta.landmarks)
    )
    targets = walk(batch.targets)
    return attrs.evolve(batch, inputs=walk(batch.inputs), targets=targets, meta=meta)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on a device, without waiting for the copies."""
    if device.type == "cpu":
        return batch
    return mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def on_cpu(batch: Batch) -> Batch:
    """Return a batch on the CPU."""
    return mapped(batch, lambda tensor: tensor.cpu())


def of_size(batch: Batch, size: int) -> Batch:
    """Return the first ``size`` faces per side of a batch that is repeated as often as needed."""

    def repeat(tensor: torch.Tensor) -> torch.Tensor:
        times = -(-size // len(tensor))
        return tensor.repeat(times, *(1 for _ in tensor.shape[1:]))[:size]

    indices = {side: np.resize(rows, size) for side, rows in batch.meta.indices.items()}
    made = mapped(batch, repeat)
    return attrs.evolve(made, meta=attrs.evolve(made.meta, indices=indices))
