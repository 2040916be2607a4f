"""Losses between the step that made them and the moment they are read back from the device."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fs_kernel import backend
from fs_kernel.errors import BadStepError
from fs_kernel.types import Metrics, StepResult

if TYPE_CHECKING:
    import torch

    from fs_kernel.options.defaults import SaveOptions


class MetricsReader:
    """Collect step results and read them in one transfer.

    Args:
        images_per_step: pictures of all sides together that one step sees.
        mean: returns the mean over the processes that share a step.
    """

    def __init__(self, images_per_step: int, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._images, self._mean = images_per_step, mean
        self._pending: list[tuple[int, StepResult]] = []
        self._durations: list[float] = []
        self._since = time.perf_counter()
        self._sum, self._count = 0.0, 0
        self._lock = threading.Lock()
        self._logged: dict[str, float] = {}
        self._known: dict[str, float] = {}

    def add(self, step: int, result: StepResult, seconds: float) -> None:
        """Take in one step; nothing is read."""
        self._pending.append((step, result))
        self._durations.append(seconds)

    def log(self, values: Mapping[str, float]) -> None:
        """Take in numbers that add-ons report. Safe from any thread."""
        checked = {str(name): float(value) for name, value in values.items()}
        with self._lock:
            self._logged |= checked
            # A save at the same step is ranked by it, before the next reading reports it.
            self._known |= checked

    def read(self) -> Metrics | None:
        """Read everything pending.

        Returns:
            The last step's losses and the speed since the last call; None if nothing is pending.

        Raises:
            BadStepError: a loss is not finite; names step, side and part.
        """
        if not self._pending:
            return None
        torch = backend.torch()
        step, last = self._pending[-1]
        sides = [loss.side for loss in last.losses]
        totals = [loss.total for _, result in self._pending for loss in result.losses]
        parts = [x for loss in last.losses for p in loss.parts for x in (p.weighted, p.unweighted)]
        # One transfer for all numbers: each read of its own would wait for the device.
        numbers = [*totals, *parts, *last.values.values()]
        read = torch.stack([number.reshape(()).to(totals[0]) for number in numbers]).tolist()
        now = time.perf_counter()
        pace = [now - self._since, statistics.median(self._durations)]
        *values, elapsed, median = self._mean(
            torch.tensor([*read, *pace], dtype=torch.float64)
        ).tolist()
        rows = [values[i : i + len(sides)] for i in range(0, len(totals), len(sides))]
        for (number, result), row in zip(self._pending, rows, strict=True):
            if not all(math.isfinite(value) for value in row):
                raise BadStepError(number, _describe(number, result))
        rest = iter(values[len(totals) :])
        weighted: dict[str, dict[str, float]] = {}
        unweighted: dict[str, dict[str, float]] = {}
        for loss in last.losses:
            of_side, bare = (
                weighted.setdefault(loss.side, {}),
                unweighted.setdefault(loss.side, {}),
            )
            for part in loss.parts:
                # One function may be chosen twice; what it adds to the total is then the sum.
                name = f"{part.output}/{part.function}"
                of_side[name] = of_side.get(name, 0.0) + next(rest)
                bare[name] = next(rest)
        with self._lock:
            logged, self._logged = self._logged, {}
        metrics = Metrics(
            step=step,
            losses=dict(zip(sides, rows[-1], strict=True)),
            parts=weighted,
            learning_rate=None if last.learning_rate is None else float(last.learning_rate),
            images_per_second=len(rows) * self._images / max(elapsed, 1e-9),
            step_seconds=median,
            unweighted=unweighted,
            values={**dict(zip(last.values, rest, strict=True)), **logged},
        )
        self._known |= metrics.values
        self._sum += sum(map(sum, rows))
        self._count += len(rows)
        self._pending, self._durations, self._since = [], [], now
        return metrics

    def forget(self) -> None:
        """Drop what was not read and start to count again, after training went back."""
        self._pending, self._durations, self._logged = [], [], {}
        self._since = time.perf_counter()
        self._sum, self._count = 0.0, 0

    def resume_clock(self) -> None:
        """Leave the time since the last read out of the speed (a save or a preview took it)."""
        self._since = time.perf_counter()

    def monitored(self, options: SaveOptions, average: float | None) -> float | None:
        """Return what the best checkpoints are ranked by, smaller being better; None if unknown.

        Args:
            options: ``[save]``; ``monitor`` names the number.
            average: the mean loss, which is meant by "loss".
        """
        value = average if options.monitor == "loss" else self._known.get(options.monitor)
        return -value if value is not None and options.monitor_mode == "max" else value

    def take_average(self) -> float | None:
        """Return the mean summed loss of the steps read since the last call, or None."""
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
    return f"step {step}: the loss is not finite ({', '.join(bad)})"
