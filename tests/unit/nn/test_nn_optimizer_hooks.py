"""Optimizers as plugins: names of weights, and options of their own."""

from __future__ import annotations

import functools
import inspect

import attrs
import pytest
import torch
from fake_run import FakeRun
from fs_kernel import hookimpl, option
from fs_kernel.errors import ConfigError, PluginError
from fs_nn import optimizers
from fs_nn.optimizers import build_optimizer, change_optimizer
from fs_nn.options import OptimizerOptions
from nn_weights import copies, equal, make, train, weights

OURS = ["adam", "adamw", "adamax", "nadam", "rms_prop", "AdaBelief", "Lion"]


@attrs.frozen
class HeavyBallOptions:
    """Options of `HeavyBall`."""

    momentum: float = option(0.5, "Momentum.", minimum=0.0, maximum=1.0)


class HeavyBall:
    """Stochastic gradient descent with momentum, and none for decoders."""

    @hookimpl
    def config_defaults(self):
        return {"optimizer.heavy_ball": HeavyBallOptions}

    @hookimpl
    def create_optimizer(self, groups, settings, config):
        if settings["amsgrad"]:
            raise ValueError("amsgrad is not for this optimizer")
        self.names = [[name for name, _ in group["params"]] for group in groups]
        self.settings = dict(settings)
        split = []
        for group in groups:
            for kind in ("encoder", "decoder"):
                chosen = [pair for pair in group["params"] if pair[0].startswith(kind)]
                momentum = config["optimizer.heavy_ball"].momentum if kind == "encoder" else 0.0
                split.append({**group, "params": chosen, "momentum": momentum})
        return torch.optim.SGD(split, lr=settings["lr"], weight_decay=settings["weight_decay"])


def of_plugin(plugin, momentum=0.5, parameters=None, **chosen):
    options = OptimizerOptions(optimizer="heavy_ball", **chosen)
    config = {"optimizer.heavy_ball": HeavyBallOptions(momentum=momentum)}
    found = {"optimizers": {"heavy_ball": plugin}}
    parameters = parameters or weights()
    run = FakeRun(weights=lambda: parameters, config=config, found=found)
    return build_optimizer(run, options), parameters


def test_a_plugin_is_given_names_settings_and_its_own_options():
    plugin = HeavyBall()
    optimizer, parameters = of_plugin(plugin, 0.75, learning_rate=2e-5)
    assert plugin.names == [
        ["encoder/conv/kernel", "decoder_a/dense/kernel"],
        ["encoder/conv/bias", "decoder_a/odd_bias"],
    ]
    assert plugin.settings["lr"] == 2e-5
    groups = optimizer._optimizer.param_groups
    assert [group["momentum"] for group in groups] == [0.75, 0.0, 0.75, 0.0]
    train(optimizer, parameters, 3)
    assert not equal(parameters, weights())
    moved = {n for n, e in optimizer.state_dict()["weights"].items() if e["values"]}
    assert {"encoder/conv/kernel", "encoder/conv/bias"} <= moved


def test_options_that_change_reach_groups_that_a_plugin_made():
    """Weights that do not decay stay so, whichever group they came into."""
    optimizer, _ = of_plugin(HeavyBall())
    options = OptimizerOptions(optimizer="heavy_ball", weight_decay=0.3)
    change_optimizer(optimizer, options, torch.device("cpu"))
    decays = [group["weight_decay"] for group in optimizer._optimizer.param_groups]
    assert decays == [0.3, 0.3, 0.0, 0.0]


def test_what_a_plugin_refuses_is_an_error_of_the_options():
    with pytest.raises(ConfigError, match="heavy_ball refuses its options: amsgrad is not for"):
        of_plugin(HeavyBall(), ada_amsgrad=True)


def test_what_a_plugin_raises_is_blamed_on_it():
    class Broken(HeavyBall):
        @hookimpl
        def create_optimizer(self, groups):
            return {}["gone"]

    with pytest.raises(PluginError, match="optimizer 'heavy_ball' failed in create_optimizer"):
        of_plugin(Broken())


@pytest.mark.parametrize("name", OURS)
def test_ours_take_names_and_step_to_the_bit_as_without(name):
    """Named groups change neither the weights nor what a checkpoint holds."""
    make_one, named = getattr(optimizers, name), weights()
    managed = make(named, make_one, weight_decay=0.1)
    names = [group["param_names"] for group in managed._optimizer.param_groups]
    assert names == [
        ["encoder/conv/kernel", "decoder_a/dense/kernel"],
        ["encoder/conv/bias", "decoder_a/odd_bias"],
    ]
    plain = copies(weights())
    bare = make(plain, without_names(make_one), weight_decay=0.1)
    train(managed, named, 7)
    train(bare, plain, 7)
    assert equal(named, plain)
    one, other = managed.state_dict()["weights"], bare.state_dict()["weights"]
    assert one.keys() == other.keys()
    for entry, same in zip(one.values(), other.values(), strict=True):
        assert entry["shape"] == same["shape"]
        assert list(entry["values"]) == list(same["values"])


def without_names(make_one):
    """The same optimizer over groups of bare weights."""

    @functools.wraps(make_one)
    def made(groups, **settings):
        bare = [{**group, "params": [p for _, p in group["params"]]} for group in groups]
        return make_one(bare, **settings)

    made.__signature__ = inspect.signature(make_one)
    return made


@pytest.mark.parametrize("shapes", [{"a/kernel": (3, 4)}, {"a/bias": (4,)}], ids=["one", "none"])
def test_weights_of_one_kind_are_one_group(shapes):
    """Torch refuses a group without weights beside one with names."""
    parameters = weights(shapes)
    optimizer = make(parameters, optimizers.Lion, weight_decay=0.5)
    (group,) = optimizer._optimizer.param_groups
    assert group["weight_decay"] == (0.5 if "a/kernel" in shapes else 0.0)
    options = OptimizerOptions(weight_decay=0.25)
    change_optimizer(optimizer, options, torch.device("cpu"))
    assert group["weight_decay"] == (0.25 if "a/kernel" in shapes else 0.0)
    train(optimizer, parameters, 3)
    assert not equal(parameters, weights(shapes))
