"""Losses between the step that made them and the moment they are read back from the device."""

from __future__ import annotations

import math
import statistics
import time

from fs_kernel import backend
from fs_kernel.errors import BadStepError
from fs_kernel.types import Group, Metrics, StepResult


class Ledger:
    """Collects step results and reads them in one transfer.

    Args:
        images_per_step: pictures of all sides together that one step sees.
        group: the processes that share a step; what is read is the mean over them.
    """

    def __init__(self, images_per_step: int, group: Group) -> None:
        self._images, self._group = images_per_step, group
        self._pending: list[tuple[int, StepResult]] = []
        self._durations: list[float] = []
        self._since = time.perf_counter()
        self._sum, self._count = 0.0, 0

    def add(self, step: int, result: StepResult, seconds: float) -> None:
        """Take in one step; nothing is read."""
        self._pending.append((step, result))
        self._durations.append(seconds)

    def read(self) -> Metrics | None:
        """Read everything pending.

        Returns:
            The last step's losses and the speed since the last call; None if nothing is pending.

        Raises:
            BadStepError: a loss is not a finite number, naming step, side and part.
        """
        if not self._pending:
            return None
        torch = backend.torch()
        step, last = self._pending[-1]
        sides = [loss.side for loss in last.losses]
        totals = torch.stack([t.total for _, r in self._pending for t in r.losses])
        parts = [x for loss in last.losses for p in loss.parts for x in (p.weighted, p.unweighted)]
        read = torch.stack([*totals.unbind(), *parts]).tolist()
        now = time.perf_counter()
        pace = [now - self._since, statistics.median(self._durations)]
        *values, elapsed, median = self._group.mean(
            torch.tensor([*read, *pace], dtype=torch.float64)
        ).tolist()
        rows = [values[i : i + len(sides)] for i in range(0, len(totals), len(sides))]
        for (number, result), row in zip(self._pending, rows, strict=True):
            if not all(math.isfinite(value) for value in row):
                raise BadStepError(number, _describe(number, result))
        rest = iter(values[len(totals) :])
        by_side: dict[str, dict[str, float]] = {}
        unweighted: dict[str, dict[str, float]] = {}
        for loss in last.losses:
            values_of, bare = (
                by_side.setdefault(loss.side, {}),
                unweighted.setdefault(loss.side, {}),
            )
            for part in loss.parts:
                # One function may be chosen twice; what it adds to the total is then the sum.
                name = f"{part.output}/{part.function}"
                values_of[name] = values_of.get(name, 0.0) + next(rest)
                bare[name] = next(rest)
        metrics = Metrics(
            step=step,
            losses=dict(zip(sides, rows[-1], strict=True)),
            parts=by_side,
            learning_rate=None if last.learning_rate is None else float(last.learning_rate),
            images_per_second=len(rows) * self._images / max(elapsed, 1e-9),
            step_seconds=median,
            unweighted=unweighted,
        )
        self._sum += sum(map(sum, rows))
        self._count += len(rows)
        self._pending, self._durations, self._since = [], [], now
        return metrics

    def resume_clock(self) -> None:
        """Leave the time since the last read out of the speed (a save or a preview took it)."""
        self._since = time.perf_counter()

    def take_average(self) -> float | None:
        """Mean summed loss of the steps read since the last call, or None if there were none."""
        average = self._sum / self._count if self._count else None
        self._sum, self._count = 0.0, 0
        return average


def _describe(step: int, result: StepResult) -> str:
    bad = [
        f"{loss.side} {part.output}/{part.function} = {float(part.weighted)}"
        for loss in result.losses
        for part in loss.parts
        if not math.isfinite(float(part.weighted))
    ]
    totals = [loss for loss in result.losses if not math.isfinite(float(loss.total))]
    bad = bad or [f"{loss.side} total = {float(loss.total)}" for loss in totals]
    bad = bad or ["of another process's faces"]
    return f"step {step}: the loss is no finite number ({', '.join(bad)})"
