"""Lion: steps of one size, whose sign alone the gradients decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from fs_nn.optimizers.foreach import ForeachOptimizer, check_settings


class Lion(ForeachOptimizer):
    """Lion, whose every step is as long as the rate.

    Chen et al. 2023, "Symbolic discovery of optimization algorithms"::

        w = w - lr weight_decay w
        w = w - lr sign(b1 m + (1 - b1) g)
        m = b2 m + (1 - b2) g

    Every number of a weight moves by the whole rate in each step, so rates should be three to ten
    times smaller than for Adam.

    Args:
        params: weights or parameter groups.
        lr: learning rate.
        betas: b1 and b2, at least 0 and below 1.
        weight_decay: share of each weight, times the rate, that a step takes away.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        check_settings(lr, betas, weight_decay)
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def _new_state(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"exp_avg": torch.zeros_like(weight)}

    def _update(
        self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        beta_1, beta_2 = group["betas"]
        means = self._tensors(weights, "exp_avg")
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        directions = list(torch._foreach_lerp(means, gradients, 1 - beta_1))
        torch._foreach_sign_(directions)
        torch._foreach_add_(weights, directions, alpha=-group["lr"])
        torch._foreach_lerp_(means, gradients, 1 - beta_2)
