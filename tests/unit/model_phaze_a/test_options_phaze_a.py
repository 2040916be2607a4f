"""What each option of phaze_a changes in the network, on networks of few weights."""

from __future__ import annotations

import keras
import pytest
from fs_kernel import networks
from phaze_a_small import chosen, full_size, small


def draw(**options):
    return small(options, device="meta")


def layers(network, sub_model):
    return network.model.get_layer(sub_model).layers


def widths(network, sub_model):
    """Filters of convolutions and units of dense layers, in order: "C16 D12"."""
    found = []
    for layer in layers(network, sub_model):
        if isinstance(layer, keras.layers.Conv2D):
            found.append(f"C{layer.filters}")
        elif isinstance(layer, keras.layers.Dense):
            found.append(f"D{layer.units}")
    return " ".join(found)


def kinds(network, sub_model):
    return [type(layer).__name__ for layer in layers(network, sub_model)]


#: The small network: the encoder's three convolutions and its bottleneck of 12; fully connected
#: layers of 8 * 4 * 4 nodes; a decoder of two stages, the first with a residual block.
USUAL = {
    "encoder": "C4 C8 C8 D12",
    "fc_a": "D128",
    "fc_gblock": "D8 D16",
    "decoder_both": "C64 C16 C16 C32 C3",
}


def test_the_small_network_is_what_the_others_are_held_against():
    network = draw(enable_gblock=True)
    assert {name: widths(network, name) for name in USUAL} == USUAL


@pytest.mark.parametrize(
    ("option", "value", "base", "sub_model", "expected"),
    [
        ("fs_original_depth", 2, {}, "encoder", "C4 C8 D12"),
        ("fs_original_min_filters", 8, {}, "encoder", "C8 C8 C8 D12"),
        ("fs_original_max_filters", 16, {}, "encoder", "C4 C8 C16 D12"),
        ("bottleneck_size", 20, {}, "encoder", "C4 C8 C8 D20"),
        ("bottleneck_type", "flatten", {}, "encoder", "C4 C8 C8"),
        ("bottleneck_in_encoder", False, {}, "encoder", "C4 C8 C8"),
        ("bottleneck_in_encoder", False, {}, "fc_a", "D12 D128"),
        ("fc_depth", 2, {}, "fc_a", "D128 D128"),
        ("fc_min_filters", 4, {"fc_depth": 2}, "fc_a", "D64 D128"),
        ("fc_max_filters", 16, {"fc_depth": 2}, "fc_a", "D128 D256"),
        ("fc_dimensions", 2, {}, "fc_a", "D32"),
        # Half-way, a slope s has come 0.5 - s / 2 of the way from 64 to 128 nodes.
        ("fc_filter_slope", 0.0, {"fc_depth": 3, "fc_min_filters": 4}, "fc_a", "D64 D96 D128"),
        ("fc_filter_slope", -0.5, {"fc_depth": 3, "fc_min_filters": 4}, "fc_a", "D64 D112 D128"),
        ("fc_upsampler", "subpixel", {}, "fc_a", "D128 C32"),
        ("fc_upsamples", 2, {"fc_upsampler": "subpixel", "fc_min_filters": 64,
         "fc_max_filters": 64}, "fc_a", "D1024 C32 C32"),
        ("fc_upsample_filters", 16, {"fc_upsampler": "subpixel"}, "fc_a", "D128 C64"),
        ("fc_gblock_depth", 1, {"fc_gblock_max_nodes": 8}, "fc_gblock", "D8"),
        ("fc_gblock_min_nodes", 16, {}, "fc_gblock", "D16 D16"),
        ("fc_gblock_max_nodes", 40, {"fc_gblock_depth": 3}, "fc_gblock", "D8 D32 D40"),
        ("fc_gblock_filter_slope", 0.5, {"fc_gblock_depth": 3, "fc_gblock_max_nodes": 40},
         "fc_gblock", "D8 D16 D40"),
        ("dec_upscales_in_fc", 1, {}, "decoder_both", "C32 C3"),
        ("dec_min_filters", 16, {}, "decoder_both", "C64 C16 C16 C64 C3"),
        ("dec_max_filters", 32, {}, "decoder_both", "C128 C32 C32 C32 C3"),
        ("dec_slope_mode", "cap_max", {"output_size": 128, "dec_max_filters": 32,
         "dec_min_filters": 16, "dec_filter_slope": -0.5, "dec_res_blocks": 0},
         "decoder_both", "C128 C128 C128 C64 C3"),
        ("dec_slope_mode", "cap_min", {"output_size": 128, "dec_max_filters": 32,
         "dec_min_filters": 16, "dec_filter_slope": -0.5, "dec_res_blocks": 0},
         "decoder_both", "C128 C64 C64 C64 C3"),
        ("dec_filter_slope", 0.0, {"output_size": 64, "dec_max_filters": 40, "dec_res_blocks": 0},
         "decoder_both", "C160 C96 C32 C3"),
        ("dec_filter_slope", -0.5, {"output_size": 64, "dec_max_filters": 40, "dec_res_blocks": 0},
         "decoder_both", "C160 C64 C32 C3"),
        ("dec_res_blocks", 0, {}, "decoder_both", "C64 C32 C3"),
        ("dec_res_blocks", 2, {}, "decoder_both", "C64 C16 C16 C16 C16 C32 C3"),
        ("dec_skip_last_residual", False, {}, "decoder_both", "C64 C16 C16 C32 C8 C8 C3"),
    ],
)  # fmt: skip
def test_an_option_sets_the_widths_it_names(option, value, base, sub_model, expected):
    network = draw(**{"enable_gblock": sub_model == "fc_gblock", **base, option: value})
    assert widths(network, sub_model) == expected


@pytest.mark.parametrize(
    ("option", "value", "sub_model", "kind", "count"),
    [
        ("fs_original_use_alt", True, "encoder", "MaxPooling2D", 2),
        ("bottleneck_type", "max_pooling", "encoder", "GlobalMaxPooling2D", 1),
        ("bottleneck_norm", "layer", "encoder", "LayerNormalization", 1),
        ("fc_upsampler", "subpixel", "fc_a", "PixelShuffler", 1),
        ("dec_upscale_method", "resize_images", "decoder_both", "Conv2DTranspose", 2),
        ("dec_upscale_method", "upscale_dny", "decoder_both", "UpSampling2D", 2),
        ("dec_norm", "batch", "decoder_both", "BatchNormalization", 2),
        ("dec_gaussian", False, "decoder_both", "GaussianNoise", 0),
        ("dec_gaussian", True, "decoder_both", "GaussianNoise", 2),
    ],
)
def test_an_option_brings_the_layers_it_names(option, value, sub_model, kind, count):
    assert kinds(draw(**{option: value}), sub_model).count(kind) == count


@pytest.mark.parametrize(
    ("option", "value", "there", "gone"),
    [
        ("split_fc", False, {"fc_both"}, {"fc_a", "fc_b"}),
        ("shared_fc", "full", {"fc_a", "fc_b", "fc_shared"}, set()),
        ("enable_gblock", False, set(), {"fc_gblock", "g_block_both"}),
        ("split_gblock", True, {"g_block_a", "g_block_b"}, {"g_block_both"}),
        ("split_decoders", True, {"decoder_a", "decoder_b"}, {"decoder_both"}),
    ],
)
def test_an_option_splits_the_network_as_it_says(option, value, there, gone):
    names = set(networks.sub_models(draw(**{"enable_gblock": True, option: value}).model))
    assert there <= names
    assert not gone & names


def test_the_last_kernel_has_the_size_of_dec_output_kernel():
    face = draw(dec_output_kernel=3).model.get_layer("decoder_both").get_layer("face_out_0_conv2d")
    assert face.kernel_size == (3, 3)


@pytest.mark.parametrize(("enc_scaling", "size"), [(0, 32), (10, 96), (7, 64)])
def test_enc_scaling_is_percent_of_the_encoders_size_in_steps_of_16(enc_scaling, size):
    assert draw(enc_scaling=enc_scaling).model.inputs[0].shape[1:] == (size, size, 3)


@pytest.mark.parametrize("output_size", [48, 64])
def test_output_size_is_the_edge_of_the_face(output_size):
    network = draw(output_size=output_size, fc_min_filters=36, fc_max_filters=36)
    assert {tensor.shape[1] for tensor in network.model.outputs} == {output_size}


def test_mobilenet_dropout_changes_nothing_as_its_help_says():
    base = {"enc_architecture": "mobilenet", "enc_load_weights": False}
    graphs = [draw(**base, mobilenet_dropout=rate).model.get_config() for rate in (0.001, 0.5)]
    assert graphs[0] == graphs[1]
    assert graphs[0] != draw(**base, mobilenet_width=0.5).model.get_config()


def test_freeze_layers_and_load_layers_are_what_is_frozen_and_loaded():
    plugins = chosen({"freeze_layers": ["fc_a", "encoder"], "load_layers": ["decoder_both"]})
    network = full_size(plugins)
    assert plugins.freeze_layers(network) == ["fc_a", "encoder"]
    assert plugins.load_layers(network) == ["decoder_both"]
