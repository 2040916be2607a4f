"""What each option of a network changes in it."""

from __future__ import annotations

import keras
import pytest
from built_in import chosen, full_size
from fs_kernel import networks


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("original", {"lowmem": True}, 60_565_126),
        ("dfaker", {"output_size": 256}, 258_046_598),
        ("dfl_h128", {"lowmem": True}, 48_244_102),
        ("dfl_sae", {"architecture": "liae"}, 121_746_593),
        ("dfl_sae", {"multiscale_decoder": True}, 130_122_130),
        ("dlight", {"features": "lowmem", "details": "fast", "output_size": 128}, 67_966_070),
        ("dlight", {"features": "fair", "details": "good", "output_size": 384}, 174_264_886),
        ("realface", {"input_size": 128, "output_size": 256}, 394_296_868),
        ("unbalanced", {"lowmem": True}, 107_962_506),
        ("villain", {"lowmem": True}, 118_660_614),
    ],
)
def test_parameters_of_the_known_variants(name, options, parameters):
    assert networks.count(full_size(chosen(name, options))) == parameters


def widths(network, sub_model):
    """Filters of convolutions and units of dense layers, in order: "C128", "D512"."""
    found = []
    for layer in network.model.get_layer(sub_model).layers:
        if isinstance(layer, keras.layers.Conv2D):
            found.append(f"C{layer.filters}")
        elif isinstance(layer, keras.layers.Dense):
            found.append(f"D{layer.units}")
    return found


@pytest.mark.parametrize(
    ("name", "option", "value", "sub_model", "expected"),
    [
        # Three filters for each of encoder_dims, doubled at each convolution.
        ("dfl_sae", "encoder_dims", 30, "encoder_df", ["C90", "C180", "C360", "C720"]),
        ("dfl_sae", "autoencoder_dims", 320, "encoder_df", ["D320", "D20480", "C1280"]),
        ("dfl_sae", "input_size", 160, "encoder_df", ["D512", "D51200"]),
        # Upscalers of 8, 4 and 2 times three times decoder_dims, with four times the filters.
        ("dfl_sae", "decoder_dims", 15, "decoder_a", ["C1440", "C360"]),
        ("dlight", "features", "fair", "encoder", ["D1152"]),
        ("dlight", "features", "lowmem", "encoder", ["C24", "C48", "D640"]),
        ("dlight", "details", "fast", "decoder_b_fast", ["C2048"]),
        ("realface", "dense_nodes", 768, "decoder_b", ["D768"]),
        # Side A has two thirds of it.
        ("realface", "dense_nodes", 768, "decoder_a", ["D512"]),
        ("realface", "complexity_encoder", 96, "encoder", ["C96", "C192", "C384", "C768"]),
        ("realface", "complexity_decoder", 544, "decoder_b", ["C2176", "C544"]),
        ("unbalanced", "nodes", 512, "encoder", ["D512"]),
        ("unbalanced", "complexity_encoder", 64, "encoder", ["C64", "C128", "C256", "C384"]),
        ("unbalanced", "complexity_decoder_a", 128, "decoder_a", ["C512", "C256", "C128"]),
        ("unbalanced", "complexity_decoder_b", 256, "decoder_b", ["C1024", "C512", "C256"]),
    ],
)
def test_an_option_sets_the_widths_it_names(name, option, value, sub_model, expected):
    usual = full_size(chosen(name, {}))
    changed = full_size(chosen(name, {option: value}))
    assert is_within(expected, widths(changed, sub_model))
    if sub_model in networks.sub_models(usual.model):
        assert not is_within(expected, widths(usual, sub_model))


def is_within(expected, found):
    """Whether the expected widths occur in this order, others between them."""
    rest = iter(found)
    return all(width in rest for width in expected)
