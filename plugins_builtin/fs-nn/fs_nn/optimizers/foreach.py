"""Update all weights of a group by a few calls: the frame of our own optimizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class ForeachOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer that sees the weights of a group together.

    States hold tensors of the weight's shape, and plain numbers for counters: a counter that is a
    tensor could be shared, and changed from elsewhere.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change every weight that has a gradient.

        Args:
            closure: computes the loss again; its value is returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight].update(self._new_state(weight, group))
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            if weights:
                self._update(weights, gradients, group)
        return loss

    @abstractmethod
    def _new_state(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """Return the state of a weight before its first step."""

    @abstractmethod
    def _update(
        self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        """Change weights of one group and their states; there is at least one."""

    def _tensors(self, weights: list[Tensor], key: str) -> list[Tensor]:
        return [self.state[weight][key] for weight in weights]


def check_settings(lr: float, betas: tuple[float, float], weight_decay: float) -> None:
    """Check settings against what every optimizer here needs.

    Raises:
        ValueError: one is out of range.
    """
    if lr < 0 or weight_decay < 0:
        raise ValueError("lr and weight_decay must not be negative")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError("betas must be at least 0 and below 1")
