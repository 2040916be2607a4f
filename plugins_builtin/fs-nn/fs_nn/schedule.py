"""Give each step of the optimizer its learning rate."""

from __future__ import annotations

import attrs


@attrs.define
class WarmUp:
    """A rate that rises linearly at the start of a model's life, and then stays.

    Steps are those of the optimizer since the model's first, so a resumed model continues where it
    was and does not warm up again.

    Attributes:
        rate: the full rate; may be changed at any time.
        steps: the step at which it is reached; 0 for no rise.
    """

    rate: float
    steps: int

    def rate_at(self, step: int) -> float:
        """Return the rate of a step, the first one being 1: ``rate * min(1, step / steps)``."""
        return self.rate * min(1.0, step / self.steps) if self.steps else self.rate
