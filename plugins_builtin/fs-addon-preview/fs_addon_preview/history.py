"""The losses of a model's whole life, thinned out so that they fit a picture."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
from fs_kernel.types import Side

#: Parsing more than this would take noticeable time from training.
_READ_BYTES = 16 * 2**20
_ROTATED = re.compile(r"events\.(\d+)\.jsonl")


@attrs.define
class _Bin:
    first: int
    last: int
    count: int
    sums: dict[Side, float]


class LossHistory:
    """Mean losses over equal numbers of readings, at most ``most`` of them.

    Whenever there are too many, neighbours are joined, so the resolution halves. A step at or
    before the last one means that training went back: what lies beyond it is forgotten.

    Args:
        sides: the sides, in order.
        most: bins kept; even.
    """

    def __init__(self, sides: Sequence[Side], most: int = 1024) -> None:
        self._sides = tuple(sides)
        self._most = most
        self._per_bin = 1
        self._bins: list[_Bin] = []

    def add(self, step: int, losses: Mapping[Side, float | None]) -> None:
        """Take in one reading; one without a finite loss for every side is passed over."""
        values = {side: losses.get(side) for side in self._sides}
        if any(v is None or not math.isfinite(v) for v in values.values()):
            return
        while self._bins and self._bins[-1].first >= step:
            self._bins.pop()
        last = self._bins[-1] if self._bins else None
        if last is not None and last.count < self._per_bin and last.last < step:
            _join(last, _Bin(step, step, 1, values))
        else:
            self._bins.append(_Bin(step, step, 1, values))
        if len(self._bins) > self._most:
            for left, right in zip(self._bins[::2], self._bins[1::2], strict=False):
                _join(left, right)
            self._bins = self._bins[::2]
            self._per_bin *= 2

    def curves(self) -> dict[Side, tuple[np.ndarray, np.ndarray]]:
        """Per side ``(steps, losses)``, each ``(n,)`` float64; empty below two bins."""
        if len(self._bins) < 2:
            return {}
        steps = np.array([(b.first + b.last) / 2 for b in self._bins])
        return {
            side: (steps, np.array([b.sums[side] / b.count for b in self._bins]))
            for side in self._sides
        }


def _join(left: _Bin, right: _Bin) -> None:
    left.last = right.last
    left.count += right.count
    for side, value in right.sums.items():
        left.sums[side] += value


def read_losses(folder: Path, until: int) -> Iterator[tuple[int, dict[Side, float | None]]]:
    """Losses that earlier sessions wrote, oldest first.

    Args:
        folder: the model's ``logs``; may be missing.
        until: the last step wanted. Later ones were lost when training went back.

    Yields:
        Step and loss per side, from the "metrics" events of ``events.jsonl`` and of its rotated
        files: of long logs only every second, third, ... one. Broken lines are passed over.
    """
    rotated = {int(m[1]): p for p in folder.glob("*.jsonl") if (m := _ROTATED.fullmatch(p.name))}
    paths = [*(rotated[n] for n in sorted(rotated, reverse=True)), folder / "events.jsonl"]
    total = sum(path.stat().st_size for path in paths if path.is_file())
    every, count = 1 + total // _READ_BYTES, 0
    for path in paths:
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    if '"metrics"' not in line:
                        continue
                    count += 1
                    if count % every == 0 and (reading := _reading(line, until)) is not None:
                        yield reading
        except OSError:
            continue


def _reading(line: str, until: int) -> tuple[int, dict[Side, float | None]] | None:
    try:
        event = json.loads(line)
        wanted = event["event"] == "metrics" and 0 < event["step"] <= until
        return (int(event["step"]), dict(event["losses"])) if wanted else None
    except (ValueError, TypeError, KeyError):
        return None
