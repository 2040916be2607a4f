"""Which faces a step sees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from fs_kernel.randomness import generator
from fs_kernel.types import Side, Tree


class UniformSampler:
    """Every face once per epoch, in an order shuffled anew for each epoch and side.

    The faces of a step follow from the step and the seed alone: place ``slot`` of step ``step`` is
    position ``(step - 1) * batch_size + slot`` of an endless row of shuffled epochs. So a resumed
    run goes on exactly where it was with nothing saved, and a side with fewer faces than a batch
    simply goes through several epochs per step.

    Args:
        sizes: faces per side, at least 1.
        batch_size: faces per side per step.
        seed: key of all draws.
    """

    def __init__(self, sizes: Mapping[Side, int], batch_size: int, seed: int) -> None:
        self._sizes = dict(sizes)
        self._batch_size = batch_size
        self._seed = seed
        self._orders: dict[tuple[Side, int], np.ndarray] = {}

    def draw(self, step: int) -> dict[Side, np.ndarray]:
        """Indices of the faces of ``step``, per side ``(batch_size,)`` int64."""
        first = (step - 1) * self._batch_size
        needed: dict[tuple[Side, int], np.ndarray] = {}
        drawn = {}
        for side, size in self._sizes.items():
            epochs, places = np.divmod(np.arange(first, first + self._batch_size), size)
            for epoch in range(epochs[0], epochs[-1] + 1):
                needed[side, epoch] = self._order(side, epoch)
            drawn[side] = np.array(
                [needed[side, epoch][place] for epoch, place in zip(epochs, places, strict=True)]
            )
        self._orders = needed
        return drawn

    def _order(self, side: Side, epoch: int) -> np.ndarray:
        known = self._orders.get((side, epoch))
        if known is not None:
            return known
        return generator(self._seed, "sampler", side, epoch).permutation(self._sizes[side])

    def update(
        self, step: int, indices: Mapping[Side, np.ndarray], losses: Mapping[Side, np.ndarray]
    ) -> None:
        """Losses make no difference here."""

    def state_dict(self) -> Tree:
        """Empty: nothing has to be remembered."""
        return {}

    def load_state_dict(self, state: Tree) -> None:
        """Nothing to take over: the step says it all."""
