"""Runs of the engine on either path."""

from __future__ import annotations

import torch
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import tiny_run


def open_run(folder, model, steps, executor, **options):
    values = {"training.iterations": steps, "training.batch_size": 2} | options
    return tiny_run(folder, model=model, trainer="standard", executor=executor, set=values)


def train(folder, model, steps, executor, **options):
    """Train up to ``steps`` in all; the losses of each step and the weights saved at the end."""
    folder.mkdir(exist_ok=True)
    with open_run(folder, model, steps, executor, **options) as run:
        losses = [tuple(metrics.losses.values()) for metrics in run]
    return losses, saved(folder)


def saved(folder):
    checkpoints = Checkpoints(folder / "model")
    name = checkpoints.latest_valid(lambda line: None)
    return checkpoints.read_weights(name)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
