"""The network `original`: held against the facts, and small enough to run."""

from __future__ import annotations

import subprocess
import sys

import attrs
import fs_model_original as plugin
import keras
import pytest
import torch
from facts import differences, load_facts
from fs_kernel.options import Config
from fs_kernel.types import Output
from fs_model_original.network import original
from fs_nn.blocks import Blocks
from fs_nn.options import NetworkOptions

FACTS = load_facts("original")
SMALL = {"convs": (2, 3, 4, 5), "dense": 6, "bottleneck": 4, "shared": 8, "ups": (6, 4, 3)}


def inputs(sides=("a", "b")):
    keras.utils.clear_session()
    return {side: keras.Input((64, 64, 3), name=f"face_in_{side}") for side in sides}


def build(model=None, network=None):
    """The network as the hooks build it, at full size, without memory."""
    config = Config(
        {
            "model.original": plugin.OriginalOptions(**model or {}),
            "network": NetworkOptions(**network or {}),
        }
    )
    faces = inputs()
    with keras.device("meta"):
        network = attrs.evolve(plugin.build_model(faces, config), sides=("a", "b"))
    assert {v.value.device.type for v in network.model.weights} == {"meta"}
    return network


@pytest.mark.parametrize("name", list(FACTS))
def test_facts(name):
    facts = FACTS[name]
    network = build(facts["model_options"], facts["global_overrides"])
    assert differences(network, facts) == []
    assert plugin.freeze_layers() == facts["freeze_layers"]
    assert plugin.load_layers() == facts["load_layers"]
    spec = plugin.network_spec()
    assert set(spec.input_shapes.values()) == {tuple(facts["input_shape"])}
    assert spec.color_order == facts["color_order"]


def test_the_comparison_sees_differences():
    network = build({"lowmem": True})
    lines = differences(network, FACTS["original"])
    for expected in (
        "total: 60565126, expected 82062470",
        "encoder/dense w:",
        "encoder/flatten in:",
        "encoder layers:",
    ):
        assert any(line.startswith(expected) for line in lines), expected
    assert not any(line.startswith("decoder") for line in lines)


@pytest.mark.parametrize("change", ["c", "o", "p", "w", "a", "i", "in"])
def test_the_comparison_sees_each_fact_of_a_layer(change):
    facts = load_facts("original")["original"]
    layer = facts["sub_models"]["decoder_b"]["layers"][1]
    if change == "a":
        layer["a"]["strides"] = [2, 2]
    else:
        layer[change] = "something else"
    (line,) = differences(build(), facts)
    assert line.startswith(f"decoder_b/upscale_256_1_conv2d_conv2d {change}: ")


@pytest.mark.parametrize("options", [{"icnr_init": True}, {"conv_aware_init": True}])
def test_initialiser_options_change_no_names_or_shapes(options):
    lines = differences(build(network=options), FACTS["original"])
    assert lines
    assert all(" i: " in line for line in lines)


def test_outputs_are_described_in_order():
    network = original(inputs(), Blocks(), learn_mask=True, **SMALL)
    assert network.outputs == [
        Output("a", "face", 64),
        Output("a", "mask", 64),
        Output("b", "face", 64),
        Output("b", "mask", 64),
    ]


@pytest.mark.parametrize("sides", [("a",), ("a", "b", "c")])
def test_there_may_be_any_number_of_sides(sides):
    network = original(inputs(sides), Blocks(), **SMALL)
    assert [o.side for o in network.outputs] == list(sides)
    assert {m.name for m in network.model.layers if isinstance(m, keras.Model)} == {
        "encoder",
        *(f"decoder_{side}" for side in sides),
    }


@pytest.mark.parametrize("options", [{}, {"reflect_padding": True}], ids=["same", "reflect"])
def test_pictures_in_pictures_out_each_through_its_own_decoder(options):
    network = original(inputs(), Blocks(**options), learn_mask=True, **SMALL)
    rng = torch.Generator().manual_seed(0)
    a, b, other = (torch.rand((2, 64, 64, 3), generator=rng) for _ in range(3))
    face_a, mask_a, face_b, _ = network.model([a, b])
    assert (face_a.shape, mask_a.shape) == ((2, 64, 64, 3), (2, 64, 64, 1))
    assert 0 < face_a.min() < face_a.max() < 1
    again = network.model([a, other])
    assert torch.equal(again[0], face_a)
    assert not torch.equal(again[2], face_b)


def test_importing_the_plugin_is_light():
    code = "import sys, fs_model_original; print({'torch', 'keras'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
