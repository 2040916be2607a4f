"""What holds for every optimiser: its options, its learning, its state."""

from __future__ import annotations

import copy
import importlib.metadata

import pytest
import torch
from fs_kernel.errors import ConfigError
from fs_kernel.storage import tree
from fs_nn.optimizers import AdaBelief, Lion, adam, adamax, adamw, nadam, rms_prop
from nn_weights import copies, equal, gradients, make, train, weights
from torch.nn import Parameter

KINDS = {
    "adabelief": AdaBelief,
    "adam": adam,
    "adamax": adamax,
    "adamw": adamw,
    "lion": Lion,
    "nadam": nadam,
    "rms-prop": rms_prop,
}
ACCEPTED = {
    "adabelief": {"lr", "betas", "eps", "weight_decay", "amsgrad"},
    "adam": {"lr", "betas", "eps", "weight_decay", "amsgrad", "fused"},
    "adamax": {"lr", "betas", "eps", "weight_decay"},
    "adamw": {"lr", "betas", "eps", "weight_decay", "amsgrad", "fused"},
    "lion": {"lr", "betas", "weight_decay"},
    "nadam": {"lr", "betas", "eps", "weight_decay"},
    "rms-prop": {"lr", "eps", "weight_decay"},
}
OPTIONS = {
    "learning_rate": 1e-4,
    "weight_decay": 0.1,
    "epsilon_exponent": -5,
    "ada_beta_1": 0.8,
    "ada_beta_2": 0.99,
    "ada_amsgrad": True,
}

every_kind = pytest.mark.parametrize("name", KINDS)


def test_every_optimizer_is_installed_under_its_name():
    entries = importlib.metadata.distribution("fs-nn").entry_points
    installed = {e.name: e.load() for e in entries.select(group="fs_kernel.optimizers")}
    assert installed == KINDS


@every_kind
def test_an_optimizer_gets_the_options_it_takes(name):
    settings = {
        "lr": 1e-4,
        "betas": (0.8, 0.99),
        "eps": 1e-5,
        "weight_decay": 0.1,
        "amsgrad": True,
        "fused": True,
    }
    optimizer = make(weights(), KINDS[name], optimizer=name, **OPTIONS)._optimizer
    matrices, rest = optimizer.param_groups
    taken = {key: matrices[key] for key in settings if matrices.get(key) is not None}
    assert taken == {key: settings[key] for key in ACCEPTED[name]}
    assert rest["weight_decay"] == 0
    assert rest["lr"] == 1e-4
    assert matrices.get("alpha") == (0.99 if name == "rms-prop" else None)


@every_kind
def test_it_is_the_optimizer_itself_in_two_groups(name):
    ours, theirs = weights(), weights()
    optimizer = make(ours, KINDS[name], optimizer=name, **OPTIONS)
    groups = [
        {"params": [p for n, p in theirs.items() if "bias" not in n]},
        {"params": [p for n, p in theirs.items() if "bias" in n], "weight_decay": 0},
    ]
    known = {
        "betas": (0.8, 0.99),
        "eps": 1e-5,
        "weight_decay": 0.1,
        "amsgrad": True,
    }
    chosen = {key: value for key, value in known.items() if key in ACCEPTED[name]}
    plain = KINDS[name](groups, lr=1e-4, **chosen)
    train(optimizer, ours, 8)
    for number in range(8):
        gradients(theirs, 1000 + number)
        plain.step()
    for key, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[key], rtol=1e-6, atol=1e-7)
    assert not equal(ours, weights())


@every_kind
def test_it_goes_downhill(name):
    weight = Parameter(torch.full((3, 2), 0.01))
    optimizer = make({"kernel": weight}, KINDS[name], optimizer=name, learning_rate=1e-4)
    for _ in range(100):
        optimizer.backward(weight.square().sum())
        optimizer.step()
    assert weight.abs().max().item() < 0.008


@every_kind
def test_state_continues_to_the_bit_through_a_file(name):
    """As a checkpoint keeps it: split into JSON and contiguous tensors, and put together again."""
    straight = weights()
    optimizer = make(straight, KINDS[name], optimizer=name, **OPTIONS)
    train(optimizer, straight, 8)
    kept = copies(straight)
    skeleton, tensors = tree.pack(optimizer.state_dict())
    train(optimizer, straight, 3, seed=2)

    resumed = make(kept, KINDS[name], optimizer=name, **OPTIONS)
    resumed.load_state_dict(tree.unpack(skeleton, tensors, "test"))
    train(resumed, kept, 3, seed=2)
    assert equal(straight, kept)


@every_kind
def test_strides_of_weights_change_nothing_and_are_kept(name):
    plain, turned = weights(), {}
    for key, parameter in weights().items():
        last_first = parameter.detach().movedim(-1, 0).contiguous().movedim(0, -1)
        turned[key] = Parameter(last_first)
    one, two = (make(p, KINDS[name], optimizer=name, **OPTIONS) for p in (plain, turned))
    for _ in range(2):
        train(one, plain, 7)
        train(two, turned, 7)
        saved = tree.unpack(*tree.pack(two.state_dict()), "test")
        two = make(turned, KINDS[name], optimizer=name, **OPTIONS)
        two.load_state_dict(saved)
    for key, parameter in plain.items():
        torch.testing.assert_close(turned[key], parameter, rtol=1e-6, atol=1e-8)
    kernel = turned["encoder/conv/kernel"]
    assert not kernel.is_contiguous()
    moments = [
        value
        for value in two._optimizer.state[kernel].values()
        if isinstance(value, torch.Tensor) and value.shape == kernel.shape
    ]
    assert moments
    assert all(moment.stride() == kernel.stride() for moment in moments)


@every_kind
def test_f7_freezing_and_unfreezing_keeps_the_rest(name):
    everything = weights()
    optimizer = make(everything, KINDS[name], optimizer=name, **OPTIONS)
    train(optimizer, everything, 8)
    state = copy.deepcopy(optimizer.state_dict())
    fewer = {n: p for n, p in everything.items() if not n.startswith("encoder")}
    frozen = make(fewer, KINDS[name], optimizer=name, **OPTIONS)
    frozen.load_state_dict(state)
    train(frozen, fewer, 2)
    thawed = make(everything, KINDS[name], optimizer=name, **OPTIONS)
    thawed.load_state_dict(copy.deepcopy(frozen.state_dict()))
    train(thawed, everything, 2)
    assert set(thawed.state_dict()["weights"]) == set(everything)
    assert all(torch.isfinite(p).all() for p in everything.values())


@every_kind
def test_f12_rate_epsilon_decay_and_betas_changed_since_take_effect(name):
    before = weights()
    optimizer = make(before, KINDS[name], optimizer=name)
    train(optimizer, before, 8)
    state = copy.deepcopy(optimizer.state_dict())
    after = copies(before)
    resumed = make(after, KINDS[name], optimizer=name, **OPTIONS | {"ada_amsgrad": False})
    resumed.load_state_dict(state)
    assert resumed.learning_rate == 1e-4
    expected = {"lr": 1e-4, "betas": (0.8, 0.99), "eps": 1e-5, "weight_decay": 0.1}
    group = resumed._optimizer.param_groups[0]
    for key in ACCEPTED[name] & set(expected):
        assert group[key] == expected[key]
    start = copies(after)
    train(optimizer, before, 1, seed=3)
    train(resumed, after, 1, seed=3)
    moved = [
        (p["decoder_a/dense/kernel"] - start["decoder_a/dense/kernel"]).abs().max().item()
        for p in (before, after)
    ]
    assert moved[1] > 1.2 * moved[0]


def test_settings_an_optimizer_refuses_are_said():
    with pytest.raises(ConfigError, match=r"optimizer adam refuses its options: .*beta"):
        make(weights(), adam, ada_beta_2=1.0)
    with pytest.raises(ConfigError, match=r"optimizer lion refuses its options: betas must"):
        make(weights(), Lion, optimizer="lion", ada_beta_1=1.0)


def test_lion_gets_the_betas_of_the_options():
    """Its paper has 0.99 for the second; the known systems hand it the option's 0.999."""
    group = make(weights(), Lion, optimizer="lion")._optimizer.param_groups[0]
    assert group["betas"] == (0.9, 0.999)
