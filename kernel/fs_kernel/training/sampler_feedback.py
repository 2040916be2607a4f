"""Tell a sampler the losses of single faces, late enough that no step waits for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fs_kernel.types import Sampler, Side, StepResult

if TYPE_CHECKING:
    import torch

#: Steps between a face's loss and its reading, so that reading does not hold up the device.
DELAY = 4


class SamplerFeedback:
    """The losses that a sampler has not been told yet.

    Args:
        sampler: what is told.
        collect: returns every process's value, in the order of ranks.
    """

    def __init__(self, sampler: Sampler, collect: Callable[[Any], list[Any]]) -> None:
        self._sampler, self._collect = sampler, collect
        self._pending: deque[tuple[int, Any, Mapping[Side, torch.Tensor]]] = deque()

    def add(self, step: int, indices: Mapping[Side, np.ndarray], result: StepResult) -> None:
        """Take in a step, and tell what is old enough."""
        if result.sample_loss is not None:
            self._pending.append((step, indices, result.sample_loss))
        self.tell(DELAY)

    def tell(self, delay: int = 0) -> None:
        """Tell the sampler the losses of all but the last ``delay`` steps."""
        while len(self._pending) > delay:
            step, indices, tensors = self._pending.popleft()
            losses = {side: tensor.cpu().numpy() for side, tensor in tensors.items()}
            told = self._collect((indices, losses))
            self._sampler.update(step, *(_interleaved(parts) for parts in zip(*told, strict=True)))


def _interleaved(parts: Sequence[Mapping[Side, np.ndarray]]) -> Mapping[Side, np.ndarray]:
    """Return what processes know of their places of a batch, in the order of the places."""
    if len(parts) == 1:
        return parts[0]
    whole = {}
    for side in parts[0]:
        each = [np.asarray(part[side]) for part in parts]
        whole[side] = np.empty(sum(map(len, each)), each[0].dtype)
        for rank, values in enumerate(each):
            whole[side][rank :: len(each)] = values
    return whole
