"""When a loss has exploded: it stands far above what it was a while ago, and stays there."""

from __future__ import annotations

import statistics
from collections import deque

from fs_kernel.types import Metrics, Side

#: How many good readings the median is taken of, and how many it takes to judge at all.
WINDOW, LEAST = 100, 20


class Explosion:
    """Compares each reading with the median of the good ones before it, side by side.

    Only good readings count into the median, so a bad stretch cannot become what is usual. When
    options change, the scale of the losses may change with them, and the medians begin anew.

    Args:
        factor: so many times the median is bad.
        patience: so many bad readings in a row are an explosion.
    """

    def __init__(self, factor: float, patience: int) -> None:
        self._factor = factor
        self._patience = patience
        self._good: dict[Side, deque[float]] = {}
        self._options: object = None
        self._bad = 0

    def judge(self, metrics: Metrics, options: object) -> str | None:
        """Take in one reading.

        Args:
            metrics: the reading.
            options: anything that is another once options have changed.

        Returns:
            What is bad, once it has been bad for long enough; else None.
        """
        if options != self._options:
            self._good.clear()
            self._options, self._bad = options, 0
        for side, loss in metrics.losses.items():
            good = self._good.setdefault(side, deque(maxlen=WINDOW))
            usual = statistics.median(good) if len(good) >= LEAST else loss
            if loss > self._factor * usual > 0:
                return self._count_bad(side, loss, usual)
        self._bad = 0
        for side, loss in metrics.losses.items():
            self._good[side].append(loss)
        return None

    def _count_bad(self, side: Side, loss: float, usual: float) -> str | None:
        self._bad += 1
        if self._bad < self._patience:
            return None
        self._bad = 0
        return (
            f"the loss of side {side.upper()} exploded: {loss:.4g}, "
            f"{loss / usual:.1f} times the {usual:.4g} that was usual"
        )
