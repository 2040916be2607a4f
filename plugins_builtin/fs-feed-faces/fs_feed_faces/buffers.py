"""Reuse arrays once nothing refers to them any longer."""

from __future__ import annotations

import sys

import numpy as np


def _references(arrays: list[np.ndarray], position: int) -> int:
    return sys.getrefcount(arrays[position])


#: Reference count of an array that only the list holds.
_ALONE = _references([np.empty(0)], 0)


class Buffers:
    """Lends float32 arrays to batches: touching new memory takes longer than filling old memory.

    Args:
        most: arrays of each shape that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._arrays: dict[tuple[int, ...], list[np.ndarray]] = {}

    def take(self, *shape: int) -> np.ndarray:
        """Return an array of unknown content to which no view, tensor or variable refers."""
        kept = self._arrays.setdefault(shape, [])
        for position in range(len(kept)):
            if _references(kept, position) == _ALONE:
                return kept[position]
        made = np.empty(shape, np.float32)
        if len(kept) < self._most:
            kept.append(made)
        return made
