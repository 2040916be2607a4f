"""Weigh a process's part of a batch, where processes share one."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from fs_kernel.types import Batch, BatchLoss, Run


def weight_of(run: Run, batch: Batch) -> float:
    """Return the factor that makes the mean of all processes' means the mean over the batch.

    Args:
        run: the run, which knows the processes and the size of the whole batch.
        batch: this process's part.

    Returns:
        1 if all have the same number of faces, or if there is one process.
    """
    if run.group.size == 1:
        return 1.0
    faces = len(next(iter(batch.inputs.values())))
    return faces * run.group.size / run.info.batch_size


def weighted(losses: Sequence[BatchLoss], weight: float) -> Sequence[BatchLoss]:
    """Return losses times a factor, in every part."""
    if weight == 1:
        return losses
    return [
        attrs.evolve(
            loss,
            total=loss.total * weight,
            parts=tuple(
                attrs.evolve(
                    part, weighted=part.weighted * weight, unweighted=part.unweighted * weight
                )
                for part in loss.parts
            ),
        )
        for loss in losses
    ]
