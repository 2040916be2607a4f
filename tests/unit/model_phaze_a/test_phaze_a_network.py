"""Every choice of phaze_a at a few thousand weights: forward, backward, saved and read, cut."""

from __future__ import annotations

import json

import attrs
import keras
import pytest
import torch
from fs_kernel import networks
from fs_kernel.networks import cut
from fs_kernel.options import Config
from fs_model_phaze_a import SECTION, adapt_model, custom_objects
from fs_nn.normalization import InstanceNormalization
from phaze_a_small import config_of, faces, small

#: Every value of every choice at least once; what does not meet in a layer is tried together.
CHOICES = [
    {},
    {"dec_upscale_method": "resize_images", "dec_norm": "batch", "bottleneck_norm": "instance"},
    {"dec_upscale_method": "upscale_fast", "dec_norm": "instance", "bottleneck_norm": "layer"},
    {"dec_upscale_method": "upscale_hybrid", "dec_norm": "layer", "bottleneck_norm": "rms"},
    {"dec_upscale_method": "upscale_dny", "dec_norm": "rms", "fc_upsampler": "upscale_fast"},
    {"dec_norm": "group", "dec_min_filters": 32, "dec_max_filters": 32,
     "fc_upsampler": "resize_images", "bottleneck_type": "average_pooling"},
    {"fc_upsampler": "upscale_hybrid", "bottleneck_type": "max_pooling", "split_fc": False},
    {"fc_upsampler": "subpixel", "bottleneck_type": "flatten", "dec_upscales_in_fc": 1},
    {"fc_upsamples": 2, "fc_min_filters": 64, "fc_max_filters": 64, "shared_fc": "full"},
    {"fc_upsamples": 0, "enable_gblock": True, "bottleneck_in_encoder": False},
    {"shared_fc": "half", "fc_depth": 3, "fc_min_filters": 4, "fc_dropout": 0.3},
    {"shared_fc": "half", "split_fc": False, "dec_res_blocks": 2, "dec_gaussian": False,
     "dec_skip_last_residual": False},
    {"shared_fc": "full", "split_fc": False, "split_decoders": True, "dec_res_blocks": 0,
     "dec_output_kernel": 1, "dec_slope_mode": "cap_min"},
    {"enable_gblock": True, "split_gblock": True, "shared_fc": "half", "split_decoders": True},
    {"dec_upscales_in_fc": 2, "dec_upscale_method": "upscale_dny", "fs_original_use_alt": True,
     "fs_original_depth": 4, "dec_slope_mode": "cap_max"},
    {"fc_depth": 0, "bottleneck_size": 8, "fc_dimensions": 1, "fc_upsamples": 2},
    {"output_size": 48, "fc_max_filters": 36, "fc_min_filters": 36},
    {"enc_architecture": "mobilenet_v3_small", "mobilenet_minimalistic": True,
     "mobilenet_width": 0.1, "enc_load_weights": False},
]  # fmt: skip


def trained(network):
    """The network after one step, so that no weight is at its start."""
    outputs = network.model(faces(network), training=True)
    loss = sum(((o - 0.25) ** 2).mean() for o in outputs)
    loss.backward()
    parameters = networks.parameters(network)
    missing = [n for n, p in parameters.items() if p.grad is None or not p.grad.isfinite().all()]
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(torch.sign(parameter.grad) * 0.01)
    return missing


def read_back(network):
    """A network made of the graph's JSON, with the weights of the first."""
    text = json.dumps(networks.to_json(network)).encode()
    with networks.building(2, "cpu"):
        again = networks.from_json(networks.parse(text, "it"), custom_objects(), "it")
    networks.assign(again, values(network), "it")
    return again


def values(network):
    return {n: v.detach() for n, v in networks.weights(network).items()}


def run(model, pictures):
    with torch.no_grad():
        return model(pictures, training=False)


def assert_cuts_give_the_networks_own_path(network):
    a, b = faces(network, seed=3)
    before = run(network.model, [a, b])
    for source, target, face in (("a", "b", a), ("b", "a", b)):
        both = run(network.model, [face, face])
        swap = cut(network, source, target)
        results = run(swap.model, [face])
        results = results if isinstance(results, list) else [results]
        own = [both[i] for i, _ in network.outputs_of(target)]
        for result, expected in zip(results, own, strict=True):
            torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
    after = run(network.model, [a, b])
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))


def assert_trains_in_half_precision(network):
    pictures, parameters = faces(network, 1), networks.parameters(network)
    network.model.zero_grad()
    networks.apply_precision(network, "bf16", "cpu")
    outputs = network.model(pictures, training=True)
    sum(((o - 0.25) ** 2).mean() for o in outputs).backward()
    results = []
    for number_format in ("bf16", "fp32"):
        networks.apply_precision(network, number_format, "cpu")
        results.append(run(network.model, pictures))
    assert {p.dtype for p in (*outputs, *parameters.values())} == {torch.float32}
    assert [n for n, p in parameters.items() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in parameters.values())
    away = [(rough - exact).abs().mean() for rough, exact in zip(*results, strict=True)]
    assert 0 < max(away) < 0.02


@pytest.mark.parametrize("options", CHOICES, ids=lambda o: ",".join(f"{k}={o[k]}" for k in o))
def test_f9_f30_every_choice_trains_is_saved_and_swaps(options):
    network = small(options, {"learn_mask": True})
    size = options.get("output_size", 32)
    assert [(o.side, o.kind, o.size) for o in network.outputs] == [
        (side, kind, size) for side in "ab" for kind in ("face", "mask")
    ]
    assert trained(network) == []

    pictures = faces(network)
    outputs = run(network.model, pictures)
    again = run(read_back(network).model, pictures)
    for output, expected in zip(again, outputs, strict=True):
        torch.testing.assert_close(output, expected, atol=1e-6, rtol=0)
    assert outputs[0].std() > 0
    assert_trains_in_half_precision(network)
    assert_cuts_give_the_networks_own_path(network)


@pytest.mark.parametrize("learn_mask", [False, True])
def test_half_shared_layers_are_side_as(learn_mask):
    network = small({"shared_fc": "half"}, {"learn_mask": learn_mask})
    model = network.model
    calls = {
        layer["name"]: [node["args"] for node in layer["inbound_nodes"]]
        for layer in model.get_config()["layers"]
    }
    assert len(calls["fc_a"]) == 3
    assert len(calls["fc_b"]) == 1
    a, b = faces(network)
    encode, own, shared = (model.get_layer(name) for name in ("encoder", "fc_b", "fc_a"))
    joined = torch.cat([own(encode(b)), shared(encode(b))], dim=-1)
    expected = model.get_layer("decoder_both")(joined)
    face = run(model, [a, b])[2 if learn_mask else 1]
    torch.testing.assert_close(
        face, (expected[0] if learn_mask else expected).detach(), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"fs_original_use_alt": True}, "reflect_padding"),
        ({}, "icnr_init"),
        ({}, "conv_aware_init"),
    ],
)
def test_network_options_change_no_weight(options, option):
    plain = small({**options, "dec_upscale_method": "upscale_fast"})
    network = small({**options, "dec_upscale_method": "upscale_fast"}, {option: True})
    shapes = [v.shape for v in plain.model.weights]
    assert [v.shape for v in network.model.weights] == shapes
    assert trained(network) == []


def test_building_twice_gives_the_same_names():
    names = [
        [layer.name for layer in small({"dec_upscales_in_fc": 1}).model._flatten_layers()]
        for _ in range(2)
    ]
    assert names[0] == names[1]


def rates(network):
    found = {}
    for name, model in networks.sub_models(network.model).items():
        dropped = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        found |= {name: [layer.rate for layer in dropped]} if dropped else {}
    return found


def test_new_dropout_rates_keep_the_weights():
    before = config_of({"enable_gblock": True, "shared_fc": "full"})
    network = small({"enable_gblock": True, "shared_fc": "full"})
    trained(network)
    changed = attrs.evolve(before[SECTION], fc_dropout=0.5, fc_gblock_dropout=0.25)
    after = Config({**before, SECTION: changed})

    adapted = adapt_model(network, before, after)
    assert rates(network) == {n: [0.0] * len(r) for n, r in rates(network).items()}
    assert rates(adapted) == {
        "fc_a": [0.5],
        "fc_b": [0.5],
        "fc_shared": [0.5],
        "fc_gblock": [0.25, 0.25],
    }
    assert networks.fingerprint(adapted) == networks.fingerprint(network)
    kept, own = values(adapted), values(network)
    assert all(torch.equal(kept[name], own[name]) for name in own)
    pictures = faces(network)
    for output, expected in zip(
        run(adapted.model, pictures), run(network.model, pictures), strict=True
    ):
        torch.testing.assert_close(output, expected, atol=1e-6, rtol=0)
    fc, code = adapted.model.get_layer("fc_a"), torch.ones(64, 12)
    assert fc(code, training=True).std(dim=0).mean() > 0
    assert trained(adapted) == []
    assert rates(read_back(adapted)) == rates(adapted)


def test_the_same_dropout_rates_change_nothing():
    config = config_of()
    assert adapt_model(small(), config, config) is None


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [("vgg16", (0.0, 255.0)), ("mobilenet_v2", (-1.0, 1.0)), ("clipv_vit-b-32", (0.0, 1.0))],
)
def test_encoders_get_faces_in_their_range(encoder, expected):
    options = {"enc_architecture": encoder, "enc_load_weights": False, "bottleneck_type": "flatten"}
    model = small(options, device="meta").model.get_layer("encoder")
    ends = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 32, 32, 3)
    scaled = ends
    for layer in model.layers[1:]:
        if isinstance(layer, keras.Model):
            break
        scaled = layer(scaled)
    assert (scaled.min().item(), scaled.max().item()) == expected


def test_the_bottleneck_norm_comes_before_the_bottleneck():
    model = small({"bottleneck_norm": "instance"}).model.get_layer("encoder")
    kinds = [type(layer).__name__ for layer in model.layers[-3:]]
    assert kinds == [InstanceNormalization.__name__, "Flatten", "Dense"]
