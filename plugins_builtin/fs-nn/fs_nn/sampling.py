"""Choose the faces that a step sees.

All samplers draw from shuffled rows that follow from the seed alone, so a resumed run continues
exactly where it was, and a side with fewer faces than a batch simply wraps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from fs_kernel.errors import ConfigError
from fs_kernel.randomness import generator
from fs_kernel.types import Sampler, Side, Tree

#: Width of the groups of `YawSampler`, in degrees.
_YAW_WIDTH = 10
#: How many times as often as evenly a face may be seen, at most.
_YAW_MOST = 10
#: One draw in so many of `LossSampler` is uniform.
_UNIFORM_EVERY = 4
#: No face is drawn as if its loss were more than so many times the median.
_LOSS_MOST = 4
#: Steps after which a loss counts, however few of them the feed draws ahead: the 10 that a feed
#: may draw ahead and the 4 after which the kernel reads losses, so that each such feed has the same
#: draws.
_LOSS_LAG = 14
#: What it was in folders that do not say.
_OLD_LOSS_LAG = 10


class ShuffledRow:
    """An endless row of the numbers below ``size``, each once per epoch, in a new order each time.

    Args:
        size: how many numbers, at least 1.
        seed: key of all draws.
        key: what the row is for.
    """

    def __init__(self, size: int, seed: int, *key: int | str) -> None:
        self._size, self._seed, self._key = size, seed, key
        self._orders: dict[int, np.ndarray] = {}

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Return the numbers at ``(n,)`` positions of the row, from 0 on, as ``(n,)`` int64."""
        epochs, places = np.divmod(positions, self._size)
        self._orders = {int(epoch): self._order(int(epoch)) for epoch in np.unique(epochs)}
        found = np.empty(len(positions), np.int64)
        for epoch, order in self._orders.items():
            here = epochs == epoch
            found[here] = order[places[here]]
        return found

    def _order(self, epoch: int) -> np.ndarray:
        known = self._orders.get(epoch)
        if known is not None:
            return known
        return generator(self._seed, *self._key, epoch).permutation(self._size)


class UniformSampler:
    """Draw every face once per epoch, in a new order for each epoch and side.

    Args:
        sizes: faces per side, at least 1.
        batch_size: faces per side per step.
        seed: key of all draws.
    """

    def __init__(self, sizes: Mapping[Side, int], batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._rows = {
            side: ShuffledRow(size, seed, "sampler", side) for side, size in sizes.items()
        }

    def draw(self, step: int) -> dict[Side, np.ndarray]:
        """Return the indices of the faces of ``step``, per side ``(batch_size,)`` int64."""
        positions = _positions(step, self._batch_size)
        return {side: row.at(positions) for side, row in self._rows.items()}

    def update(
        self, step: int, indices: Mapping[Side, np.ndarray], losses: Mapping[Side, np.ndarray]
    ) -> None:
        """Do nothing: losses make no difference here."""

    def state_dict(self) -> Tree:
        """Return an empty state: nothing has to be remembered."""
        return {}

    def load_state_dict(self, state: Tree) -> None:
        """Do nothing: the draws follow from the step."""


class YawSampler(UniformSampler):
    """Draw every direction the head turns to as often as any other.

    The faces of a side are grouped by `yaw_groups`. Draws go round the groups, and within a group
    through its faces, both in a new order for each round; so every face is seen.

    Args:
        yaws: per side ``(faces,)`` degrees, not-a-number where it is not known.
        batch_size: faces per side per step.
        seed: key of all draws.
    """

    def __init__(self, yaws: Mapping[Side, np.ndarray], batch_size: int, seed: int) -> None:
        groups = {side: yaw_groups(yaw) for side, yaw in yaws.items()}
        super().__init__({side: len(g) for side, g in groups.items()}, batch_size, seed)
        self._groups = {
            side: [
                (faces, ShuffledRow(len(faces), seed, "sampler", side, number, "group"))
                for number, faces in enumerate(of_side)
            ]
            for side, of_side in groups.items()
        }

    def draw(self, step: int) -> dict[Side, np.ndarray]:
        """Return the indices of the faces of ``step``, per side ``(batch_size,)`` int64."""
        positions = _positions(step, self._batch_size)
        drawn = {}
        for side, numbers in super().draw(step).items():
            groups = self._groups[side]
            rounds = positions // len(groups)
            drawn[side] = np.empty(self._batch_size, np.int64)
            for number in np.unique(numbers):
                faces, row = groups[number]
                here = numbers == number
                drawn[side][here] = faces[row.at(rounds[here])]
        return drawn


def yaw_groups(yaw: np.ndarray) -> list[np.ndarray]:
    """Return faces grouped by where they look.

    A group spans 10 degrees. Faces whose yaw is not known are a group of their own, at the end.
    Neighbours are joined until a group holds at least a tenth of an even share: a single face in
    profile would otherwise be in every batch.

    Args:
        yaw: ``(faces,)`` degrees, not-a-number where it is not known.

    Returns:
        Indices of the faces of each group; each face is in one of them.
    """
    keys = np.nan_to_num(np.floor(yaw / _YAW_WIDTH), nan=np.inf, posinf=np.inf)
    order = np.argsort(keys, kind="stable")
    _, starts = np.unique(keys[order], return_index=True)
    runs = np.split(order, starts[1:])
    fewest = len(yaw) / len(runs) / _YAW_MOST
    groups = [runs[0]]
    for run in runs[1:]:
        if min(len(groups[-1]), len(run)) < fewest:
            groups[-1] = np.concatenate([groups[-1], run])
        else:
            groups.append(run)
    return groups


class LossSampler:
    """Draw faces with a large loss more often.

    Every fourth draw is uniform, so that each face is seen, and its loss measured, at least once in
    four times as many draws as there are faces. The others are drawn with replacement, with a
    chance in proportion to the face's loss: the mean of the loss last seen and the mean before it,
    at most four times the median of all faces. For a face not yet seen the median is taken.

    The loss of a step counts from the fifteenth step after it on (later if the feed draws more than
    ten steps ahead). So draws do not depend on how far ahead the feed works, and may be repeated
    for any step that was not yet trained. A folder that was begun with another lag keeps it.

    Args:
        sizes: faces per side, at least 1.
        batch_size: faces per side per step.
        seed: key of all draws.
        delay: after how many steps losses are known at a draw, at the latest.
    """

    def __init__(self, sizes: Mapping[Side, int], batch_size: int, seed: int, delay: int) -> None:
        self._batch_size, self._seed = batch_size, seed
        self._delay = delay
        self._lag = max(delay, _LOSS_LAG)
        self._rows = {
            side: ShuffledRow(size, seed, "sampler", side) for side, size in sizes.items()
        }
        self._means = {side: np.full(size, np.nan) for side, size in sizes.items()}
        # What was heard too recently to count for every draw to come: step, indices, losses.
        self._heard: deque[tuple[int, Any, Any]] = deque()

    def draw(self, step: int) -> dict[Side, np.ndarray]:
        """Return the indices of the faces of ``step``, per side ``(batch_size,)`` int64."""
        means = {side: mean.copy() for side, mean in self._means.items()}
        for heard, indices, losses in self._heard:
            if heard < step - self._lag:
                _take_in(means, indices, losses)
        positions = _positions(step, self._batch_size)
        uniform = positions % _UNIFORM_EVERY == 0
        drawn = {}
        for side, row in self._rows.items():
            heap = np.cumsum(_weights(means[side]))
            numbers = generator(self._seed, "sampler", side, step, "loss").random(len(positions))
            weighted = np.searchsorted(heap, numbers * heap[-1], side="right")
            weighted[uniform] = row.at(positions[uniform] // _UNIFORM_EVERY)
            drawn[side] = np.minimum(weighted, len(heap) - 1)
        return drawn

    def update(
        self, step: int, indices: Mapping[Side, np.ndarray], losses: Mapping[Side, np.ndarray]
    ) -> None:
        """Take in the loss of each face of a finished step, unless it is not finite."""
        self._heard.append((step, dict(indices), dict(losses)))
        while self._heard[0][0] <= step - self._lag:
            _, *heard = self._heard.popleft()
            _take_in(self._means, *heard)

    def state_dict(self) -> Tree:
        """Return the means, what was heard since, and the lag."""
        return {
            "lag": self._lag,
            "means": {side: mean.copy() for side, mean in self._means.items()},
            "heard": [list(heard) for heard in self._heard],
        }

    def load_state_dict(self, state: Tree) -> None:
        """Take over what `state_dict` returned, unless it is of other faces."""
        means = _arrays(state.get("means", {}))
        if {s: len(m) for s, m in means.items()} != {s: len(m) for s, m in self._means.items()}:
            return
        self._means = means
        self._lag = max(self._delay, state.get("lag", _OLD_LOSS_LAG))
        self._heard = deque((step, _arrays(i), _arrays(x)) for step, i, x in state["heard"])


def build_sampler(
    kind: str,
    sizes: Mapping[Side, int],
    batch_size: int,
    seed: int,
    delay: int,
    face_attributes: Mapping[Side, Mapping[str, np.ndarray]],
) -> Sampler:
    """Return the sampler of `fs_nn.options.SamplerOptions`; for the rest see ``get_sampler``.

    Raises:
        ConfigError: the sampler needs what the feed does not know of the faces.
    """
    if kind == "yaw":
        yaws = {
            side: face_attributes.get(side, {}).get("yaw", np.array([np.nan])) for side in sizes
        }
        for side, yaw in yaws.items():
            if np.isnan(yaw).all():
                raise ConfigError(
                    f"sampler = yaw needs to know where the faces look, but no face of side {side} "
                    "has landmarks to tell it; choose another sampler"
                )
        return YawSampler(yaws, batch_size, seed)
    if kind == "loss":
        return LossSampler(sizes, batch_size, seed, delay)
    return UniformSampler(sizes, batch_size, seed)


def _positions(step: int, batch_size: int) -> np.ndarray:
    """Return the places of a step's draws in the row of all draws of a side."""
    return np.arange((step - 1) * batch_size, step * batch_size)


def _arrays(by_side: Mapping[Side, Any]) -> dict[Side, np.ndarray]:
    return {side: np.array(values) for side, values in by_side.items()}


def _take_in(means: Mapping[Side, np.ndarray], indices: Any, losses: Any) -> None:
    for side, mean in means.items():
        for index, loss in zip(indices[side], losses[side], strict=True):
            if np.isfinite(loss):
                mean[index] = loss if np.isnan(mean[index]) else (mean[index] + loss) / 2


def _weights(means: np.ndarray) -> np.ndarray:
    """Return the chances of the faces, up to a common factor."""
    known = ~np.isnan(means)
    middle = np.median(means[known]) if known.any() else 0.0
    if middle <= 0:
        return np.ones(len(means))
    return np.where(known, means, middle).clip(0, _LOSS_MOST * middle)
