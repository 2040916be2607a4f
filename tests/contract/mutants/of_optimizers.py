"""Optimizers with one fault each, run by ``test_suites_find_faults.py``."""

from __future__ import annotations

import torch
from faults import suite, tidy  # noqa: F401
from fs_kernel import hookimpl
from fs_kernel.testing.suites import OptimizerSuite


class Descent(torch.optim.Optimizer):
    """Steps along ``direction(gradient, weight, state, group)``."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        if lr < 0:
            raise ValueError("lr must not be negative")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    gradient = weight.grad + group["weight_decay"] * weight
                    state = self.state[weight]
                    weight.sub_(group["lr"] * self.direction(gradient, weight, state))

    def direction(self, gradient, weight, state):
        return gradient


def stepping(direction=None, **attributes):
    if direction is not None:
        attributes["direction"] = lambda self, *given: direction(*given)
    return type("Stepping", (Descent,), attributes)


def normed(gradient, weight, state):
    return gradient / gradient.norm()


def hidden(gradient, weight, state):
    weight.memory = 0.5 * getattr(weight, "memory", 0) + gradient
    return weight.memory * 0.5


def jittery(gradient, weight, state):
    return gradient * (0.9 + 0.2 * torch.rand(()))


def packed(gradient, weight, state):
    state.setdefault("mean", torch.zeros(weight.shape)).lerp_(gradient, 0.5)
    return state["mean"]


class OwnRate(Descent):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.rate = lr

    def direction(self, gradient, weight, state):
        return gradient

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.sub_(self.rate * weight.grad)


class NoDecay(Descent):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["weight_decay"] = 0.0
        super().step()


class AnyRate(Descent):
    def __init__(self, params, lr=0.1):
        super().__init__(params, abs(lr))


def not_torch(params, lr):
    return object()


def one_group(params, lr):
    return Descent([p for group in params for p in group["params"]], lr)


class Lacking:
    """With hooks, one of which is misspelled."""

    @hookimpl
    def create_optimizer(self, groups, settings):
        return Descent(groups, settings["lr"])

    def config_default(self):
        return {}

    def migrate_options(self, section, values, version):
        return values


suite(OptimizerSuite, "test_hooks_fit", Lacking)
suite(OptimizerSuite, "test_it_is_a_torch_optimizer", not_torch)
suite(OptimizerSuite, "test_it_is_a_torch_optimizer", one_group)
suite(OptimizerSuite, "test_it_reaches_the_bottom_of_a_bowl", stepping(lambda g, w, s: -g))
suite(OptimizerSuite, "test_zero_gradients_are_no_fault", stepping(normed))
suite(OptimizerSuite, "test_it_goes_on_to_the_bit", stepping(hidden))
suite(OptimizerSuite, "test_a_step_is_the_same_every_time", stepping(jittery))
suite(OptimizerSuite, "test_its_state_lies_in_memory_as_the_weight_does", stepping(packed))
suite(OptimizerSuite, "test_the_rate_is_read_at_every_step", OwnRate)
suite(OptimizerSuite, "test_weights_without_a_gradient_are_passed_over", OwnRate)
suite(OptimizerSuite, "test_weight_decay_pulls_towards_zero", NoDecay)
suite(OptimizerSuite, "test_a_rate_below_zero_is_refused", AnyRate)
