"""A torch module as a layer: weights under its names, a graph without code, half precision."""

from __future__ import annotations

import json

import keras
import pytest
import torch
from fs_kernel import networks
from fs_kernel.types import Network, Output
from fs_nn.torch_layer import TorchLayer
from torch import nn


class Mixer(TorchLayer):
    """A convolution with running averages, and a scale that does not train."""

    def make(self, width: int) -> nn.Module:
        module = nn.Sequential(
            nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.Conv2d(width, 3, 1)
        )
        module[2].weight.requires_grad_(False)
        return module


def build(**more):
    faces = [keras.Input((8, 8, 3), name=f"face_in_{side}") for side in "ab"]
    mixer = Mixer(width=4, name="mixer", **more)
    to_face = keras.layers.Activation("sigmoid", dtype="float32")
    model = keras.Model(faces, [to_face(mixer(face)) for face in faces])
    return Network(model, [Output(side, "face", 8) for side in "ab"], {}, ("a", "b"))


@pytest.fixture
def net():
    with networks.building(1, "cpu"):
        return build()


def faces():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand((2, 8, 8, 3), generator=generator) for _ in "ab"]


def test_weights_and_buffers_go_by_the_modules_names(net):
    assert list(networks.weights(net)) == [
        "mixer/0:weight",
        "mixer/0:bias",
        "mixer/1:weight",
        "mixer/1:bias",
        "mixer/2:bias",
        "mixer/2:weight",
        "mixer/1:running_mean",
        "mixer/1:running_var",
        "mixer/1:num_batches_tracked",
    ]
    assert "mixer/2:weight" not in networks.parameters(net)
    assert "mixer/0:weight" in networks.parameters(net)


def test_it_computes_what_the_module_does(net):
    layer = net.model.get_layer("mixer")
    module = layer.make(width=4).eval()
    values = {
        n.removeprefix("mixer/").replace(":", "."): v for n, v in networks.weights(net).items()
    }
    module.load_state_dict(dict(values))
    (face, _) = faces()
    expected = module(face.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert layer(face, training=False).equal(expected)


def test_training_moves_running_averages_and_nothing_else_does(net):
    held = {n: v.clone() for n, v in networks.weights(net).items()}
    net.model(faces(), training=False)
    assert all(v.equal(held[n]) for n, v in networks.weights(net).items())
    net.model(faces(), training=True)
    moved = {n for n, v in networks.weights(net).items() if not v.equal(held[n])}
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {f"mixer/1:{name}" for name in buffers}
    assert networks.weights(net)["mixer/1:num_batches_tracked"].item() == 2


def test_the_graph_holds_its_class_and_its_arguments_only(net):
    text = json.dumps(networks.to_json(net))
    with networks.building(2, "cpu"):
        again = networks.from_json(networks.parse(text.encode(), "net"), {"Mixer": Mixer}, "net")
    assert networks.fingerprint(again) == networks.fingerprint(net)
    held = {n: v.detach().clone() for n, v in networks.weights(net).items()}
    networks.assign(again, held, "the weights")
    for one, other in zip(net.model(faces()), again.model(faces()), strict=True):
        assert one.equal(other)


def test_a_seed_decides_where_it_starts(net):
    with networks.building(1, "cpu"):
        same = build()
    with networks.building(2, "cpu"):
        other = build()
    weight = networks.weights(net)["mixer/0:weight"]
    assert networks.weights(same)["mixer/0:weight"].equal(weight)
    assert not networks.weights(other)["mixer/0:weight"].equal(weight)


def test_half_precision_runs_the_module_in_it(net):
    net.mixed_layers = networks.following_layers(net)
    exact = net.model(faces())
    networks.apply_precision(net, "bf16", "cpu")
    assert net.model.get_layer("mixer")(faces()[0]).dtype == torch.bfloat16
    for one, other in zip(net.model(faces()), exact, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).abs().max() < 0.02
    text = json.dumps(networks.to_json(net)).encode()
    with networks.building(2, "cpu"):
        again = networks.from_json(networks.parse(text, "net"), {"Mixer": Mixer}, "net")
    assert again.model.get_layer("mixer").compute_dtype == "bfloat16"


def test_it_freezes_and_thaws(net):
    before = list(networks.parameters(net))
    layer = net.model.get_layer("mixer")
    layer.trainable = False
    assert not networks.parameters(net)
    layer.trainable = True
    assert list(networks.parameters(net)) == before


def test_it_is_built_without_memory():
    with networks.building(1, "meta"):
        net = build()
    assert {v.device.type for v in networks.weights(net).values()} == {"meta"}
    assert networks.count(net) == 16 + 8 + 15 + 8 + 1
