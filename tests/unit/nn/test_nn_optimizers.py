"""Optimisers: groups, settings, and state by name."""

from __future__ import annotations

import copy

import attrs
import pytest
import torch
from fs_kernel.errors import ConfigError, ModelFolderError
from fs_nn.options import OptimizerOptions
from nn_weights import SHAPES, equal, make, train, weights
from torch.nn import Parameter


def test_amsgrad_is_passed_on():
    parameters = weights()
    optimizer = make(parameters, ada_amsgrad=True)
    train(optimizer, parameters, 1)
    assert "max_exp_avg_sq" in optimizer.state_dict()["weights"]["encoder/conv/kernel"]["values"]


def test_an_optimizer_gets_only_what_its_signature_names():
    seen = {}

    def sgd(params, lr, weight_decay):
        seen.update(lr=lr, weight_decay=weight_decay)
        return torch.optim.SGD(params, lr=lr, weight_decay=weight_decay)

    parameters = weights()
    optimizer = make(parameters, sgd, learning_rate=2e-5)
    train(optimizer, parameters, 2)
    assert seen == {"lr": 2e-5, "weight_decay": 0.0}
    assert not equal(parameters, weights())


def test_state_is_kept_by_name_whatever_the_order():
    first = weights()
    optimizer = make(first)
    train(optimizer, first, 2)
    tree = copy.deepcopy(optimizer.state_dict())
    turned = dict(reversed([(n, Parameter(p.detach().clone())) for n, p in first.items()]))
    resumed = make(turned)
    resumed.load_state_dict(tree)
    for name, entry in resumed.state_dict()["weights"].items():
        assert torch.equal(entry["values"]["exp_avg"], tree["weights"][name]["values"]["exp_avg"])


def test_f7_freezing_and_unfreezing_keeps_the_rest():
    everything = weights()
    optimizer = make(everything)
    train(optimizer, everything, 2)
    tree = copy.deepcopy(optimizer.state_dict())

    fewer = {n: p for n, p in everything.items() if not n.startswith("encoder")}
    frozen = make(fewer)
    frozen.load_state_dict(tree)
    assert set(frozen.state_dict()["weights"]) == set(fewer)
    train(frozen, fewer, 1)

    thawed = make(everything)
    thawed.load_state_dict(copy.deepcopy(frozen.state_dict()))
    assert set(thawed.state_dict()["weights"]) == set(fewer)
    train(thawed, everything, 1)
    steps = {
        n: entry["values"]["step"].item() for n, entry in thawed.state_dict()["weights"].items()
    }
    assert steps["encoder/conv/kernel"] == 1
    assert steps["decoder_a/dense/kernel"] == 4


def test_a_state_for_another_shape_is_refused_and_nothing_changes():
    parameters = weights()
    optimizer = make(parameters)
    train(optimizer, parameters, 1)
    tree = copy.deepcopy(optimizer.state_dict())
    other = weights({**SHAPES, "decoder_a/dense/kernel": (5, 8)})
    resumed = make(other)
    with pytest.raises(ModelFolderError, match=r"'decoder_a/dense/kernel' is for shape \[8, 5\]"):
        resumed.load_state_dict(tree)
    assert resumed.state_dict()["weights"] == {}


def test_moments_take_the_strides_of_their_weight():
    """A weight stored transposed must train as one that is not, also after a resume."""
    plain = weights()
    turned = {}
    for name, parameter in weights().items():
        last_first = parameter.detach().movedim(-1, 0).contiguous().movedim(0, -1)
        turned[name] = Parameter(last_first)
    assert turned["encoder/conv/kernel"].stride() != plain["encoder/conv/kernel"].stride()

    def step(optimizer, parameters):
        loss = sum((p.sin() * (i + 1)).sum() for i, p in enumerate(parameters.values()))
        loss.backward()
        optimizer.step()

    one, two = make(plain), make(turned)
    for optimizer, parameters in ((one, plain), (two, turned)):
        step(optimizer, parameters)
    tree = {  # as a file gives it: contiguous
        name: {
            "shape": entry["shape"],
            "values": {
                k: v.clone(memory_format=torch.contiguous_format)
                for k, v in entry["values"].items()
            },
        }
        for name, entry in two.state_dict()["weights"].items()
    }
    two = make(turned)
    two.load_state_dict({**one.state_dict(), "weights": tree})
    kernel = turned["encoder/conv/kernel"]
    moments = two._optimizer.state[kernel]
    assert moments["exp_avg"].stride() == kernel.stride()
    for optimizer, parameters in ((one, plain), (two, turned)):
        step(optimizer, parameters)
    for name, parameter in plain.items():
        torch.testing.assert_close(parameter, turned[name], rtol=1e-6, atol=1e-8)


def test_a_gradient_laid_out_otherwise_is_noticed_before_it_does_harm():
    parameters = weights({"conv/kernel": (3, 4)})
    optimizer = make(parameters)
    kernel = parameters["conv/kernel"]
    kernel.grad = torch.ones(4, 3).T
    with pytest.raises(RuntimeError, match="'conv/kernel' has strides"):
        optimizer.step()
    assert equal(parameters, weights({"conv/kernel": (3, 4)}))


def test_nothing_to_train_is_said():
    with pytest.raises(ConfigError, match="all weights are frozen"):
        make({})


def test_defaults_are_the_known_ones():
    assert attrs.asdict(OptimizerOptions()) == {
        "optimizer": "adam",
        "learning_rate": 5e-5,
        "epsilon_exponent": -7,
        "weight_decay": 0.0,
        "gradient_clipping": "none",
        "clipping_value": 1.0,
        "autoclip_history": 10000,
        "gradient_accumulation": 1,
        "warmup_steps": 0,
        "ema_decay": 0.0,
        "ada_beta_1": 0.9,
        "ada_beta_2": 0.999,
        "ada_amsgrad": False,
    }
