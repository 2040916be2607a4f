"""Add the terms of objectives to a trainer's loss, and what authors of objectives need.

An objective (`fs_kernel.types.Objective`) that owns networks trains them with
`fs_nn.optimizers.build_optimizer`, over ``run.parameters(of=NAME)``, and with `average_gradients`
between its backward pass and its step, so that it works where several processes share the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import torch
from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.types import Batch, BatchLoss, LossPart, LossTerms, Run, Side
from torch import Tensor
from torch.nn import Parameter

#: What reports call the output that terms of objectives belong to.
OUTPUT = "objective"


def add_terms(
    objectives: Iterable[LossTerms],
    measured: Sequence[tuple[Tensor, BatchLoss]],
    batch: Batch,
    outputs: Sequence[Tensor],
) -> list[tuple[Tensor, BatchLoss]]:
    """Return totals and losses of all sides with the terms of objectives.

    Args:
        objectives: of the run.
        measured: per side its totals per picture ``(n,)`` and its loss.
        batch: of the step.
        outputs: of the network, with their graph.

    Raises:
        PluginError: a term is not one number per picture.
    """
    found = list(measured)
    for objective in objectives:
        terms = objective.terms(batch, outputs)
        found = [_with_terms(*one, terms) for one in found]
    return found


def _with_terms(
    totals: Tensor, loss: BatchLoss, terms: Mapping[Side, Mapping[str, Tensor]]
) -> tuple[Tensor, BatchLoss]:
    own = terms.get(loss.side)
    if not own:
        return totals, loss
    parts = list(loss.parts)
    for name, values in own.items():
        if values.shape != totals.shape:
            raise PluginError(
                f"the term '{name}' of an objective has the shape {tuple(values.shape)}; it must "
                f"be one number per picture, {tuple(totals.shape)}"
            )
        totals = totals + values
        mean = values.detach().mean()
        parts.append(LossPart(name, OUTPUT, mean, mean))
    return totals, attrs.evolve(loss, total=totals.detach().mean(), parts=tuple(parts))


@torch.no_grad()
def average_gradients(run: Run, parameters: Iterable[Parameter] | Mapping[str, Parameter]) -> None:
    """Give every process the mean of all processes' gradients; do nothing in a run of one process.

    Call it between an objective's backward pass and its step, in all processes. Where parts of a
    batch may be unequal, multiply the loss by `fs_nn.batch_weighting.weight_of` before.

    Args:
        run: the run.
        parameters: whose gradients are averaged, in place. One has a gradient in all processes or
            in none.
    """
    if run.group.size == 1:
        return
    found = parameters.values() if isinstance(parameters, Mapping) else parameters
    kinds: dict[Any, list[Tensor]] = {}
    for parameter in found:
        if parameter.grad is not None:
            kinds.setdefault((parameter.grad.dtype, parameter.grad.device), []).append(
                parameter.grad
            )
    for gradients in kinds.values():
        # One message for all of them: each costs a round trip of its own.
        flat = _mean(run, torch.cat([gradient.reshape(-1) for gradient in gradients]))
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))


def _mean(run: Run, values: Tensor) -> Tensor:
    channel = getattr(run.group, "gradients", None)
    if channel is None:
        raise ConfigError(
            f"the processes of trainer '{run.info.trainer}' cannot average the gradients of "
            "objectives; choose trainer 'ddp' or 'fsdp'"
        )
    # On the device, unlike the coordinator's calls, which would wait for it.
    torch.distributed.all_reduce(values, group=channel)
    return values / run.group.size
