"""Networks that a trainer or an objective owns: named apart, saved, frozen, never swapped."""

from __future__ import annotations

import re

import keras
import pytest
import torch
from fs_kernel import networks
from fs_kernel.errors import ModelFolderError, PluginError
from networks import autoencoder
from torch import nn


@pytest.fixture(autouse=True)
def cpu():
    with networks.building(3, "cpu"):
        yield


class Critic(nn.Module):
    """Shared weights, statistics, a buffer that is not saved and a weight that does not train."""

    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.twin = self.first
        self.norm = nn.BatchNorm1d(width)
        self.fixed = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("scratch", torch.zeros(5), persistent=False)


def judge():
    """A Keras network whose layers are named as those of the swapped network."""
    start = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(start)
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization(name="norm")(x))
    return keras.Model(start, x, name="encoder")


def owning(**owned):
    net = autoencoder()
    net.owned = owned or {"judge": judge(), "critic": Critic()}
    return net


def copies(net):
    return {name: weight.detach().clone() for name, weight in networks.weights(net).items()}


CRITIC = ["first.weight", "first.bias", "norm.weight", "norm.bias", "fixed"]
STATISTICS = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]


def test_owned_weights_are_named_apart_whatever_their_layers_are_called():
    net, plain = owning(), autoencoder()
    names = list(networks.weights(net))
    assert names[: len(networks.weights(plain))] == list(networks.weights(plain))
    assert "extra:judge/conv/kernel" in names
    assert "encoder/conv/kernel" in names
    mine = [n.removeprefix("extra:critic/") for n in names if n.startswith("extra:critic/")]
    assert sorted(mine) == sorted([*CRITIC, *STATISTICS])
    assert len({id(w) for w in networks.weights(net).values()}) == len(names)


def test_they_are_counted_and_are_not_in_the_fingerprint():
    net, plain = owning(critic=Critic()), autoencoder()
    assert networks.count(net) == networks.count(plain) + 3 * 4 + 4 + 4 + 4 + 2 + 4 + 4 + 1
    assert networks.fingerprint(net) == networks.fingerprint(plain)
    assert networks.differences(net, copies(net)) == []
    assert networks.differences(plain, copies(net)) == []


def test_parameters_are_asked_for_by_owner():
    net, plain = owning(), autoencoder()
    assert list(networks.parameters(net)) == list(networks.parameters(plain))
    assert set(networks.parameters(net, "critic")) == {f"extra:critic/{n}" for n in CRITIC[:4]}
    assert set(networks.parameters(net, of="judge")) == {
        f"extra:judge/{n}" for n in ("conv/kernel", "conv/bias", "norm/gamma", "norm/beta")
    }
    with pytest.raises(KeyError):
        networks.parameters(net, "nobody")


def test_statistics_and_seeds_of_owned_networks_are_found():
    net, plain = owning(), autoencoder()
    more = networks.statistics(net).keys() - networks.statistics(plain).keys()
    assert more == {f"extra:critic/{n}" for n in STATISTICS[:2]} | {
        f"extra:judge/norm/moving_{n}" for n in ("mean", "variance")
    }
    seeds = [name for name in networks.seed_states(net) if name.startswith("extra:")]
    assert len(seeds) == len(networks.seed_states(net)) - len(networks.seed_states(plain)) == 1
    assert seeds[0].startswith("extra:judge/")


def test_a_layer_that_is_shared_with_the_swapped_network_is_one_weight():
    net = autoencoder()
    net.owned = {"same": net.model.get_layer("encoder")}
    assert list(networks.weights(net)) == list(networks.weights(autoencoder()))


def test_they_are_frozen_by_name_and_thawed_as_they_were():
    net = owning()
    assert networks.freeze(net, ["critic", "judge", "nobody"], True) == ["nobody"]
    assert networks.parameters(net, "critic") == {}
    assert networks.parameters(net, "judge") == {}
    assert list(networks.parameters(net)) == list(networks.parameters(autoencoder()))
    assert networks.freeze(net, ["critic"], True) == []
    assert networks.freeze(net, ["critic", "judge"], False) == []
    assert set(networks.parameters(net, "critic")) == {f"extra:critic/{n}" for n in CRITIC[:4]}
    assert len(networks.parameters(net, "judge")) == 4


def test_they_come_back_with_a_checkpoint():
    net, again = owning(), owning()
    given = {name: weight + 1 for name, weight in copies(net).items()}
    assert networks.assign(again, given, "generation 1") == []
    assert all(torch.equal(w, given[n]) for n, w in networks.weights(again).items())


def test_a_network_that_is_new_starts_with_its_own_weights():
    net = owning()
    before = copies(net)
    given = {n: w + 1 for n, w in before.items() if not n.startswith("extra:critic/")}
    assert networks.assign(net, given, "generation 1") == [
        "generation 1 has no weights of network 'critic'; it starts with new ones"
    ]
    for name, weight in networks.weights(net).items():
        assert torch.equal(weight, given.get(name, before[name]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.pop("extra:critic/norm.bias"), "extra:critic/norm.bias is not in it"),
        (
            lambda t: t.update({"extra:critic/fixed": torch.ones(3)}),
            r"extra:critic/fixed is \(3,\) in it, \(2,\) here",
        ),
        (lambda t: t.update({"extra:critic/more": torch.ones(1)}), "more is not in the network"),
    ],
)
def test_one_weight_that_does_not_fit_leaves_the_whole_network_new(change, why):
    net = owning()
    before = copies(net)
    given = {name: weight + 1 for name, weight in before.items()}
    change(given)
    (line,) = networks.assign(net, given, "generation 1")
    assert re.search(
        rf"^generation 1: the weights of network 'critic' do not fit \(.*{why}\); it starts with",
        line,
    )
    for name, weight in networks.weights(net).items():
        new = name.startswith("extra:critic/")
        assert torch.equal(weight, before[name] if new else given[name])


def test_weights_of_a_network_that_is_gone_are_dropped_with_a_line():
    given = copies(owning())
    net = autoencoder()
    lines = networks.assign(net, given, "generation 1")
    assert lines == [
        f"generation 1 has weights of network '{name}', which no plugin builds now; "
        "they are dropped"
        for name in ("judge", "critic")
    ]
    assert all(torch.equal(w, given[n]) for n, w in networks.weights(net).items())


def test_the_swapped_network_is_held_to_every_weight_beside_owned_ones():
    net = owning()
    before, given = copies(net), copies(net)
    del given["encoder/conv/bias"]
    with pytest.raises(ModelFolderError, match="the first: encoder/conv/bias is not in it"):
        networks.assign(net, {n: w + 1 for n, w in given.items()}, "x")
    assert all(torch.equal(w, before[n]) for n, w in networks.weights(net).items())


def test_another_models_owned_weights_are_not_copied_with_its_sub_models():
    net, other = owning(judge=judge()), owning(judge=judge())
    before = copies(net)
    given = {name: weight + 1 for name, weight in copies(other).items()}
    (fit,) = networks.copy_sub_models(net, given, ["encoder"], "x")
    assert fit.copied == ("encoder/conv/kernel", "encoder/conv/bias")
    for name, weight in networks.weights(net).items():
        assert torch.equal(weight, given[name]) == (name in fit.copied), name
        assert name in fit.copied or torch.equal(weight, before[name])


def test_they_are_neither_cut_nor_written_nor_changed_by_precision():
    net = owning()
    net.mixed_layers = networks.following_layers(net)
    assert not any(path.startswith("extra:") for path in net.mixed_layers)
    assert networks.cut(net, "a", "b").owned == {}
    assert networks.to_json(net)["extra"] == {}
    networks.apply_precision(net, "bf16", "cpu")
    assert net.owned["judge"].get_layer("conv").compute_dtype == "float32"


@pytest.mark.parametrize(
    ("owned", "says"),
    [
        ({"critic": 5}, "network 'critic' is a int; give a keras.Model or a torch.nn.Module"),
        ({"a/b": nn.Linear(1, 1)}, "'a/b' cannot name a network"),
        ({"": nn.Linear(1, 1)}, "'' cannot name a network"),
        ({"critic": nn.LazyLinear(3)}, r"'critic' has no weights yet \(weight\); call it once"),
        ({"critic": keras.Sequential([keras.layers.Dense(2)])}, "has no weights yet"),
    ],
)
def test_what_cannot_be_owned_is_named(owned, says):
    with pytest.raises(PluginError, match=says):
        networks.check_owned(owned, "trainer 't'")


def test_what_can_be_owned_passes():
    owned = {"judge": judge(), "critic": Critic(), "empty": nn.Identity()}
    assert networks.check_owned(owned, "trainer 't'") == owned


def test_a_weight_that_no_checkpoint_holds_is_named():
    net = owning(critic=nn.Linear(2, 2, dtype=torch.complex64))
    with pytest.raises(PluginError, match="'extra:critic/weight' is complex64, which a checkpoint"):
        networks.require_storable(networks.weights(net), "trainer 't'")
