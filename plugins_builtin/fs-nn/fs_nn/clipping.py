"""Bound gradients in place, between the backward pass and the step.

Nothing here reads a number back from the device. Gradients that are not finite are left as they
are: scaling by a norm that is not-a-number would spoil every weight instead of one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from fs_kernel.types import Tree
from torch import Tensor

from fs_nn.dtensor import full_tensor
from fs_nn.options import OptimizerOptions

Clip: TypeAlias = Callable[[list[Tensor]], None]

_FIRST_ROOM = 1024


def build_clip(options: OptimizerOptions, device: torch.device) -> Clip | None:
    """Return what ``optimizer.gradient_clipping`` asks for; None for none."""
    kind, limit = options.gradient_clipping, options.clipping_value
    if kind == "none":
        return None
    if kind == "autoclip":
        return AutoClip(round(limit * 10), options.autoclip_history, device)
    kinds = {"value": clip_values, "norm": clip_each_norm, "global_norm": clip_global_norm}
    return partial(kinds[kind], limit=limit)


def clip_values(gradients: list[Tensor], limit: float) -> None:
    """Cut every number to ``-limit..limit``."""
    torch._foreach_clamp_min_(gradients, -limit)
    torch._foreach_clamp_max_(gradients, limit)


def clip_each_norm(gradients: list[Tensor], limit: float) -> None:
    """Scale each gradient whose norm is above ``limit`` down to it."""
    norms = torch.stack(torch._foreach_norm(gradients))
    torch._foreach_mul_(gradients, list(_factor(norms, limit).unbind()))


def clip_global_norm(gradients: list[Tensor], limit: float) -> None:
    """Scale all gradients alike, so that their common norm is at most ``limit``."""
    torch._foreach_mul_(gradients, _factor(global_norm(gradients), limit))


class AutoClip:
    """Scale all gradients alike, to a percentile of the norms seen so far, this one included.

    Seetharaman et al. 2020, "AutoClip: adaptive gradient clipping". Norms that are not finite are
    not remembered, and such gradients not scaled.

    Args:
        percentile: 0..100, between neighbors interpolated linearly.
        history: how many norms to remember; 0 is all.
        device: of the gradients.
    """

    def __init__(self, percentile: int, history: int, device: torch.device) -> None:
        self._percentile = percentile
        self._history = history
        self._set(torch.empty(0, device=device))

    def __call__(self, gradients: list[Tensor]) -> None:
        """Remember the norm of the gradients, and cut them in place."""
        norm = global_norm(gradients)
        self._remember(norm)
        torch._foreach_mul_(gradients, _factor(norm, self._limit()))

    def state_dict(self) -> Tree:
        """Return ``{"norms": (n,)}``, oldest first."""
        count, room = int(self._count), len(self._norms)
        if count <= room:
            return {"norms": self._norms[:count]}
        return {"norms": self._norms.roll(-(count % room))}

    def load_state_dict(self, tree: Tree) -> None:
        """Take over what `state_dict` returned; of more norms than remembered now, the newest."""
        self._set(tree["norms"].to(self._norms))

    def _set(self, norms: Tensor) -> None:
        room = self._history or max(_FIRST_ROOM, len(norms))
        kept = norms[-room:]
        self._norms = norms.new_full((room,), torch.inf)
        self._norms[: len(kept)] = kept
        self._count = torch.tensor(len(kept), device=norms.device)
        self._calls = len(kept)

    def _remember(self, norm: Tensor) -> None:
        # How many norms were finite only the device knows; calls bound it from above.
        if not self._history and self._calls == len(self._norms):
            self._norms = torch.cat((self._norms, torch.full_like(self._norms, torch.inf)))
        self._calls += 1
        place = (self._count % len(self._norms)).view(1)
        finite = torch.isfinite(norm)
        self._norms.scatter_(0, place, torch.where(finite, norm, self._norms.gather(0, place)))
        self._count += finite

    def _limit(self) -> Tensor:
        """Return the percentile; inf if nothing is remembered."""
        last = self._count.clamp(min=1, max=len(self._norms)) - 1
        hundredths = last * self._percentile
        below = hundredths // 100
        places = torch.stack((below, (below + 1).minimum(last)))
        low, high = self._norms.sort().values.gather(0, places)
        return torch.lerp(low, high, (hundredths % 100) / 100)


def global_norm(gradients: list[Tensor]) -> Tensor:
    """Return the norm of all gradients as one vector, a scalar on their device."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return full_tensor(norm)


def _factor(norm: Tensor, limit: float | Tensor) -> Tensor:
    tiny = torch.finfo(norm.dtype).tiny
    factor = (limit / norm.clamp(min=tiny)).clamp(max=1)
    return torch.where(torch.isfinite(norm), factor, torch.ones_like(norm))
