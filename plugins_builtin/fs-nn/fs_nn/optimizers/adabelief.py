"""AdaBelief: steps sized by how far the gradient is from what was expected."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from fs_nn.optimizers.foreach import ForeachOptimizer, check_settings


class AdaBelief(ForeachOptimizer):
    """Zhuang et al. 2020, "AdaBelief optimizer", with decoupled decay and rectification.

    With ``m`` the mean of gradients and ``s`` the mean of their squared distance from ``m``::

        m = b1 m + (1 - b1) g
        s = b2 s + (1 - b2) (g - m)^2 + eps
        w = w - lr weight_decay w
        w = w - lr r_t / (1 - b1^t) m / (sqrt(s) + eps)    once the variance is known well enough
        w = w - lr / (1 - b1^t) m                          before that

    ``r_t`` is `rectification`. With ``amsgrad`` the largest ``s`` so far takes the place of ``s``.

    Args:
        params: weights or parameter groups.
        lr: learning rate.
        betas: b1 and b2, at least 0 and below 1.
        eps: added to ``s`` and to its root.
        weight_decay: share of each weight, times the rate, that a step takes away.
        amsgrad: see above.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        check_settings(lr, betas, weight_decay)
        settings = {"betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {"lr": lr, **settings})

    def _new_state(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        names = ["exp_avg", "exp_avg_var"] + ["max_exp_avg_var"] * group["amsgrad"]
        return {"step": 0, **{name: torch.zeros_like(weight) for name in names}}

    def _update(
        self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        (beta_1, beta_2), eps = group["betas"], group["eps"]
        means = self._tensors(weights, "exp_avg")
        variances = self._tensors(weights, "exp_avg_var")
        torch._foreach_lerp_(means, gradients, 1 - beta_1)
        surprise = list(torch._foreach_sub(gradients, means))
        torch._foreach_mul_(variances, beta_2)
        torch._foreach_addcmul_(variances, surprise, surprise, 1 - beta_2)
        torch._foreach_add_(variances, eps)
        if group["amsgrad"]:
            torch._foreach_maximum_(self._tensors(weights, "max_exp_avg_var"), variances)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        # Weights thawed later than others have done fewer steps.
        by_step = defaultdict(list)
        for weight in weights:
            self.state[weight]["step"] += 1
            by_step[self.state[weight]["step"]].append(weight)
        for step, together in by_step.items():
            self._descend(together, step, group)

    def _descend(self, weights: list[Tensor], step: int, group: dict[str, Any]) -> None:
        beta_1, beta_2 = group["betas"]
        rate = group["lr"] / (1 - beta_1**step)
        means = self._tensors(weights, "exp_avg")
        factor = rectification(step, beta_2)
        if factor is None:
            torch._foreach_add_(weights, means, alpha=-rate)
            return
        variance = "max_exp_avg_var" if group["amsgrad"] else "exp_avg_var"
        roots = list(torch._foreach_sqrt(self._tensors(weights, variance)))
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_addcdiv_(weights, means, roots, -rate * factor)


def rectification(step: int, beta_2: float) -> float | None:
    """Return RAdam's factor times the bias correction ``sqrt(1 - b2^t)``.

    Liu et al. 2019, "On the variance of the adaptive learning rate and beyond".

    Returns:
        The factor; None while the variance is not tractable (with b2 = 0.999, up to step 5).
    """
    decay = beta_2**step
    most = 2 / (1 - beta_2) - 1
    length = most - 2 * step * decay / (1 - decay)
    if length < 5:
        return None
    ratio = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    return math.sqrt((1 - decay) * ratio)
