"""The work of a network, against numbers worked out by hand."""

from __future__ import annotations

import attrs
import keras
import pytest
from fs_bench.counting import count, node_flops
from fs_bench.networks import work_of
from fs_kernel import networks
from fs_kernel.types import Network, Output
from keras import layers


@pytest.fixture(autouse=True)
def meta():
    """Networks without memory."""
    with networks.building(0, "meta"):
        yield


def flops_of(layer, shape, times=1):
    """Of one call of a layer."""
    x = keras.Input(shape)
    model = keras.Model(x, layer(*[x] * times))
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
    return sum(node_flops(node) for node in nodes)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: layers.Conv2D(8, 5, 2, "same"), (16, 16, 3), 2 * 25 * 3 * 8 * 8 * 8),
        (lambda: layers.Conv2D(8, 3, padding="valid"), (16, 16, 3), 2 * 9 * 3 * 8 * 14 * 14),
        (lambda: layers.Conv2D(8, 3, padding="same", groups=2), (4, 4, 6), 2 * 9 * 3 * 8 * 16),
        (lambda: layers.Conv2DTranspose(8, 4, 2, "same"), (6, 6, 3), 2 * 16 * 3 * 8 * 6 * 6),
        (lambda: layers.DepthwiseConv2D(3, padding="same"), (4, 4, 5), 2 * 9 * 5 * 16),
        (lambda: layers.SeparableConv2D(7, 3, padding="same"), (4, 4, 5), 2 * (45 + 35) * 16),
        (lambda: layers.Dense(10), (6,), 2 * 6 * 10),
        (lambda: layers.Dense(10), (4, 4, 6), 2 * 6 * 10 * 16),
        (lambda: layers.EinsumDense("abc,cd->abd", (7, 10)), (7, 6), 2 * 6 * 10 * 7),
        (lambda: layers.LeakyReLU(0.1), (4, 4, 6), 0),
        (lambda: layers.LayerNormalization(), (4, 6), 0),
    ],
)
def test_a_layer(layer, shape, expected):
    assert flops_of(layer(), shape) == expected


def test_attention_is_its_projections_and_two_products():
    found = flops_of(layers.MultiHeadAttention(2, 8), (5, 12), times=2)
    projections = 4 * 2 * 12 * 16 * 5
    assert found == projections + 2 * 2 * 5 * 5 * 16


def pair(frozen=False):
    """An encoder of two convolutions for both sides, a decoder each, 8 px."""
    start = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(start)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    encoder = keras.Model(start, x, name="encoder")
    encoder.trainable = not frozen
    faces, sides = [], [keras.Input((8, 8, 3), name=f"face_in_{side}") for side in "ab"]
    for side, face in zip("ab", sides, strict=True):
        code = keras.Input((8, 8, 4))
        made = layers.Conv2D(3, 1, use_bias=False)(code)
        faces.append(keras.Model(code, made, name=f"decoder_{side}")(encoder(face)))
    model = keras.Model(sides, faces)
    network = Network(model, [Output(side, "face", 8) for side in "ab"])
    return attrs.evolve(network, sides=("a", "b"))


def test_what_both_sides_use_counts_twice_and_the_first_layer_has_no_gradient_of_its_input():
    first, second, last = 2 * 27 * 4 * 64, 2 * 36 * 4 * 64, 2 * 4 * 3 * 64
    work = count(pair())
    assert work.parameters == 27 * 4 + 36 * 4 + 2 * 12
    assert work.forward == 2 * (first + second + last)
    assert work.backward == 2 * (first + 2 * second + 2 * last)
    assert work.swap == first + second + last
    assert work.activations == 2 * 4 * 64 * (4 + 4 + 3)


def test_a_frozen_encoder_has_no_way_back():
    last = 2 * 4 * 3 * 64
    work = count(pair(frozen=True))
    assert work.parameters == 2 * 12
    assert work.backward == 2 * last, "the gradient of the kernel alone"


def test_bytes_of_a_step():
    work = count(pair())
    weights = 4 * work.parameters
    assert work.optimizer_bytes == 7 * weights
    assert work.step_bytes(3) == 10 * weights + 5 * 3 * work.activations
    assert work.facts(3)["flops_step"] == 3 * (work.forward + work.backward)


def test_original_is_what_is_known_of_it():
    """1.46 TFLOP and about 2.3 GB of optimiser traffic per step at batch 64."""
    work = work_of("original")
    assert work.parameters == 82_062_470
    assert work.flops(64) == pytest.approx(1.46e12, rel=0.005)
    assert work.optimizer_bytes == pytest.approx(2.3e9, rel=0.005)


@pytest.mark.parametrize("name", ["dlight", "phaze_a"])
def test_networks_of_every_shape_can_be_counted(name):
    work = work_of(name)
    assert work.forward < work.backward < 2.01 * work.forward
    assert 0 < work.swap < work.forward
