"""Previews made of flat colours, so that every pixel of a sheet can be foretold."""

from __future__ import annotations

import numpy as np
import pytest
from fs_kernel.types import Preview, PreviewFaces


def face_color(side: str, index: int) -> tuple[int, int, int]:
    """Colour of face ``index`` of a side."""
    return (40 * (ord(side) - ord("a")) + 10, 10 * index, 200)


def swap_color(source: str, target: str, index: int) -> tuple[int, int, int]:
    """Colour of that face through the decoder of ``target``."""
    return (40 * (ord(target) - ord("a")) + 10, 10 * index, 100 + 20 * (ord(source) - ord("a")))


def flat(colors: list[tuple[int, int, int]], height: int, width: int) -> np.ndarray:
    return np.stack([np.full((height, width, 3), color, np.uint8) for color in colors])


@pytest.fixture
def make_preview():
    """``make_preview("ab", count, size)``: ``count`` may be a dict per side, ``size`` (h, w)."""

    def make(sides, count=4, size=(64, 64), box=None, out=32, mask=None, learnt=None, step=12):
        height, width = size
        counts = count if isinstance(count, dict) else dict.fromkeys(sides, count)
        box = (0, 0, width, height) if box is None else box
        pairs = [(s, t) for s in sides for t in sides]
        return Preview(
            step=step,
            faces=PreviewFaces(
                inputs={},
                faces={
                    s: flat([face_color(s, i) for i in range(counts[s])], height, width)
                    for s in sides
                },
                boxes={s: np.tile(box, (counts[s], 1)) for s in sides},
                masks={s: None if mask is None else np.stack([mask] * counts[s]) for s in sides},
            ),
            swaps={
                (s, t): flat([swap_color(s, t, i) for i in range(counts[s])], out, out)
                for s, t in pairs
            },
            masks={} if learnt is None else {p: np.stack([learnt] * counts[p[0]]) for p in pairs},
        )

    return make
