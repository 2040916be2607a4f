"""Measure durations of several calls in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs


@attrs.frozen
class Figure:
    """One measured quantity.

    Attributes:
        key: its name for programs: ``step.original.b16.fp32.keras``.
        title: its name for people.
        unit: of the values.
        values: one per run.
        facts: further numbers that belong to it (a share of the bound, a batch size).
    """

    key: str
    title: str
    unit: str
    values: Sequence[float]
    facts: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return key, title, unit, median, min, max, runs, and the figure's own facts."""
        return {
            "key": self.key,
            "title": self.title,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "runs": len(self.values),
            **self.facts,
        }


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each call in each round, after one round that is not counted.

    Args:
        calls: functions by name; each returns when its work is done.
        rounds: number of measurements of each.
    """
    durations: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number:
                durations[name].append(time.perf_counter() - start)
    return durations


def rates(durations: Sequence[float], amount: float) -> list[float]:
    """Return ``amount`` per second for each duration."""
    return [amount / seconds for seconds in durations]
