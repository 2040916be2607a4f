"""Named weights and steps over them, shared by tests of optimisers."""

from __future__ import annotations

import torch
from fake_run import FakeRun
from fs_nn.optimizers import build_optimizer
from fs_nn.options import OptimizerOptions
from torch.nn import Parameter

SHAPES = {
    "encoder/conv/kernel": (3, 3, 4, 8),
    "encoder/conv/bias": (8,),
    "decoder_a/dense/kernel": (8, 5),
    "decoder_a/odd_bias": (2, 3),
}


def weights(shapes=SHAPES, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {n: Parameter(torch.randn(s, generator=rng)) for n, s in shapes.items()}


def copies(parameters):
    return {name: Parameter(p.detach().clone()) for name, p in parameters.items()}


def make(parameters, installed=torch.optim.Adam, precision="fp32", **options):
    """The optimiser of a run whose installed optimiser is ``installed``, whatever its name."""
    chosen = OptimizerOptions(**options)
    run = FakeRun(weights=lambda: parameters, found={"optimizers": {chosen.optimizer: installed}})
    run.info = type(run.info)(precision=precision)
    return build_optimizer(run, chosen)


def gradients(parameters, seed):
    """Sets gradients drawn from ``seed``."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in parameters.values():
        drawn = torch.randn(parameter.shape, generator=rng)
        parameter.grad = torch.empty_like(parameter).copy_(drawn)


def train(optimizer, parameters, steps, seed=1):
    """Steps with gradients of their own; what `ManagedOptimizer.step` returned."""
    done = []
    for number in range(steps):
        gradients(parameters, 1000 * seed + number)
        done.append(optimizer.step())
    return done


def equal(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)
