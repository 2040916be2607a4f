"""Search a learning rate: it grows exponentially until the loss diverges.

After L. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3, with the
constants that users of this field know: from 1e-10 to 0.1, a running mean of the loss with a memory
of 0.98, and an end at four times the best mean. The first means are of a few pictures only and do
not count: a lucky first batch would otherwise pass for the best rate. Rates that small could not be
the result anyway.
"""

from __future__ import annotations

import math

import attrs

LOWEST, HIGHEST = 1e-10, 1e-1
MEMORY = 0.98
DIVERGED = 4.0
#: What the rate with the lowest mean loss is divided by.
DIVISORS = {"default": 10.0, "aggressive": 5.0, "extreme": 2.5}
#: A result below this is too small to train with.
LEAST = 1e-9


@attrs.define
class Sweep:
    """The course of one search.

    Attributes:
        steps: how many steps it takes from the lowest rate to the highest.
        rates: of the steps done.
        losses: what each of them gave.
        means: the running mean of the losses, corrected for its start at zero.
        diverged: whether the loss diverged.
    """

    steps: int
    rates: list[float] = attrs.field(factory=list)
    losses: list[float] = attrs.field(factory=list)
    means: list[float] = attrs.field(factory=list)
    diverged: bool = False
    _running: float = 0.0

    @property
    def settling(self) -> int:
        """Return how many steps it takes until the mean counts."""
        return max(10, min(50, self.steps // 10))

    @property
    def done(self) -> bool:
        """Return whether the search has ended."""
        return self.diverged or len(self.rates) >= self.steps

    def next_rate(self) -> float:
        """Return the rate of the next step: a straight line on a log scale."""
        rate: float = LOWEST * (HIGHEST / LOWEST) ** (len(self.rates) / (self.steps - 1))
        return rate

    def add(self, rate: float, loss: float) -> None:
        """Take in one step."""
        if not math.isfinite(loss):
            self.diverged = True
            return
        self._running = MEMORY * self._running + (1 - MEMORY) * loss
        mean = self._running / (1 - MEMORY ** (len(self.losses) + 1))
        settled = self.means[self.settling :]
        self.diverged = bool(settled) and mean > DIVERGED * min(settled)
        if not self.diverged:
            self.rates.append(rate)
            self.losses.append(loss)
            self.means.append(mean)

    def result(self, strength: str) -> float | None:
        """Return the rate to train with.

        Args:
            strength: a key of `DIVISORS`.

        Returns:
            The rate with the lowest mean loss, divided; None if that is too small to train with.
        """
        settled = self.means[self.settling :]
        if not settled:
            return None
        best = self.settling + settled.index(min(settled))
        rate = self.rates[best] / DIVISORS[strength]
        return rate if rate >= LEAST else None
