"""A network that could not be opened again is refused before its first step."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
import torch
from fs_kernel import networks
from fs_kernel.errors import PluginError
from fs_kernel.types import Network, Output
from keras import layers
from networks import autoencoder


@pytest.fixture(autouse=True)
def cpu():
    with networks.building(3, "cpu"):
        yield


def network_with(call):
    """A network of one convolution and what ``call`` makes of it, in a sub-model."""
    inside = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inside)
    decoder = keras.Model(inside, call(x), name="decoder")
    start = keras.Input((8, 8, 3), name="face_in_a")
    model = keras.Model(start, decoder(start), name="net")
    return Network(model, [Output("a", "face", 8)], sides=("a",))


class NeedsNumbers(layers.Layer):
    """Looks at its weight while it is built: no device without memory can do that."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        assert float(self.scale.value.detach()) == 1.0
        torch.rand(1)

    def call(self, x):
        return x * self.scale


class Eighth(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(
            shape=(), dtype="float8_e4m3fn", initializer="zeros", trainable=False, name="scale"
        )

    def call(self, x):
        return x


TRAPS = {
    "graph": (
        lambda x: layers.Lambda(abs, name="lam")(x),
        {},
        "layer 'decoder/lam' is a Lambda, which cannot be read back from a checkpoint; write it ",
    ),
    "type of a weight": (
        lambda x: Eighth(name="own")(x),
        {"Eighth": Eighth},
        "weight 'decoder/own/scale' is float8_e4m3fn, which a checkpoint cannot hold",
    ),
    "reserved name": (
        lambda x: x,
        {},
        "names that begin with extra: are taken",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_named_with_what_to_do(trap):
    call, custom, says = TRAPS[trap]
    net = network_with(call)
    if trap == "reserved name":
        net.model.get_layer("decoder").name = "extra:decoder"
    with pytest.raises(PluginError, match=says) as caught:
        networks.require_reopenable(net, custom, "model 'm'")
    assert str(caught.value).startswith("model 'm': ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def states():
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]


def test_nothing_is_moved_by_looking():
    """Random states, seeds of dropout and weights: a run with the check is one without."""
    net = autoencoder()
    weights = {n: w.detach().clone() for n, w in networks.weights(net).items()}
    seeds = {n: s.clone() for n, s in networks.seed_states(net).items()}
    before = states()
    networks.require_reopenable(net, {}, "model 'm'")
    assert states() == before
    assert all(torch.equal(w, weights[n]) for n, w in networks.weights(net).items())
    assert all(torch.equal(s, seeds[n]) for n, s in networks.seed_states(net).items())


def test_random_states_are_put_back_where_a_layer_needs_numbers():
    net = network_with(lambda x: NeedsNumbers()(x))
    before = states()
    networks.require_reopenable(net, {"NeedsNumbers": NeedsNumbers}, "model 'm'")
    assert states() == before
