"""AdamW that takes only those steps its gradient agrees with (Liang et al. 2024, "Cautious").

Biases and gains, which are recognized by their names, take every step.
"""

from __future__ import annotations

import attrs
import torch
from fs_kernel import hookimpl, option

SECTION = "optimizer.cautious"


@attrs.frozen
class Options:
    """Section ``[optimizer.cautious]``."""

    always: str = option("bias,gamma,beta", "Weights with these names take every step.")


class Cautious(torch.optim.AdamW):
    """Undo what a step did against the gradient, and lengthen the rest by as much.

    Args:
        groups: of ``(name, parameter)``.
        always: last parts of the names of weights that take every step.
        settings: of `torch.optim.AdamW`.
    """

    def __init__(self, groups, always, **settings):
        # Before the groups are handed over, because torch takes the names out of them.
        careful = [
            weight
            for group in groups
            for name, weight in group["params"]
            if name.rpartition("/")[2] not in always
        ]
        super().__init__(groups, **settings)
        self._careful = careful

    @torch.no_grad()
    def step(self, closure=None):
        """Run one step."""
        seen = [(w, w.clone()) for w in self._careful if w.grad is not None]
        loss = super().step(closure)
        for weight, before in seen:
            agrees = ((weight - before) * weight.grad <= 0).to(weight.dtype)
            scale = agrees / agrees.mean().clamp(min=1e-3)
            weight.copy_(before + (weight - before) * scale)
        return loss


@hookimpl
def config_defaults():
    return {SECTION: Options}


@hookimpl
def create_optimizer(groups, settings, config):
    always = config[SECTION].always.split(",")
    return Cautious(groups, always, **settings)
