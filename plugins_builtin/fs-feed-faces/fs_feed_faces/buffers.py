"""Arrays that are used again once nobody holds them."""

from __future__ import annotations

import sys

import numpy as np


def _references(arrays: list[np.ndarray], position: int) -> int:
    return sys.getrefcount(arrays[position])


#: Of an array that nobody else holds.
_ALONE = _references([np.empty(0)], 0)


class Buffers:
    """Gives float32 arrays for batches. Memory that is new takes longer to fill than to make.

    Args:
        most: arrays of each shape that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._arrays: dict[tuple[int, ...], list[np.ndarray]] = {}

    def take(self, *shape: int) -> np.ndarray:
        """An array of unknown content that nobody else holds, nor a view or tensor of it."""
        kept = self._arrays.setdefault(shape, [])
        for position in range(len(kept)):
            if _references(kept, position) == _ALONE:
                return kept[position]
        made = np.empty(shape, np.float32)
        if len(kept) < self._most:
            kept.append(made)
        return made
