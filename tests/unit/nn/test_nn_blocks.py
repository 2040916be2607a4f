"""Blocks: names, counters, options."""

from __future__ import annotations

import keras
import pytest
from fs_nn.blocks import Blocks, counted
from fs_nn.initializers import ICNR, ConvolutionAware
from fs_nn.options import NetworkOptions


@pytest.fixture(autouse=True)
def _fresh_session():
    keras.utils.clear_session()


def names(outputs, inputs):
    return [layer.name for layer in keras.Model(inputs, outputs).layers[1:]]


def test_names_are_counted_per_base_across_sub_models():
    for number in range(2):
        x = keras.Input((16, 16, 3))
        y = Blocks().conv_block(x, 8)
        y = Blocks().upscale(y, 4)
        y = Blocks().output(y, 3, name="face_out_a")
        assert names(y, x) == [
            f"conv_8_{number}_conv2d",
            f"conv_8_{number}_leakyrelu",
            f"upscale_4_{number}_conv2d_conv2d",
            f"upscale_4_{number}_conv2d_leakyrelu",
            f"upscale_4_{number}_pixelshuffler",
            f"face_out_a_{number}_conv2d",
            f"face_out_a_{number}",
        ]


def test_clearing_the_session_starts_the_counters_again():
    assert [counted("upscale_4"), counted("upscale_4"), counted("conv_8")] == [
        "upscale_4_0",
        "upscale_4_1",
        "conv_8_0",
    ]
    keras.utils.clear_session()
    assert counted("upscale_4") == "upscale_4_0"


def test_counters_and_keras_names_do_not_disturb_each_other():
    counted("dense")
    assert keras.layers.Dense(1).name == "dense"
    assert counted("dense") == "dense_1"
    assert keras.layers.Dense(1).name == "dense_1"


def test_shapes_and_activations():
    x = keras.Input((16, 16, 3))
    down = Blocks().conv_block(x, 8)
    up = Blocks().upscale(down, 4)
    assert (down.shape, up.shape) == ((None, 8, 8, 8), (None, 16, 16, 4))
    model = keras.Model(x, up)
    assert model.get_layer("conv_8_0_leakyrelu").negative_slope == pytest.approx(0.1)
    assert model.get_layer("upscale_4_0_conv2d_conv2d").filters == 16


def test_output_is_float32_whatever_the_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        x = keras.Input((8, 8, 3))
        model = keras.Model(x, Blocks().output(x, 1, name="mask_out_a"))
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("mask_out_a_0_conv2d").compute_dtype == "bfloat16"
    assert model.get_layer("mask_out_a_0").compute_dtype == "float32"


def test_reflect_padding_goes_before_blocks_but_not_before_outputs():
    x = keras.Input((16, 16, 3))
    blocks = Blocks.of(NetworkOptions(reflect_padding=True))
    y = blocks.output(blocks.conv_block(x, 8), 3, name="face_out_a")
    model = keras.Model(x, y)
    assert names(y, x)[0] == "conv_8_0_reflectionpadding2d"
    assert model.get_layer("conv_8_0_conv2d").padding == "valid"
    assert model.get_layer("face_out_a_0_conv2d").padding == "same"
    assert model.get_layer("conv_8_0_leakyrelu").output.shape == (None, 8, 8, 8)


def kernels(blocks):
    """Initialisers of a plain and a sub-pixel convolution."""
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, blocks.upscale(blocks.conv_block(x, 8), 4))
    return [layer.kernel_initializer for layer in model.layers if hasattr(layer, "filters")]


def test_kernels_start_he_uniform_unless_told_otherwise():
    he = keras.initializers.HeUniform
    assert [type(k) for k in kernels(Blocks())] == [he, he]
    assert [type(k) for k in kernels(Blocks(conv_aware_init=True))] == [ConvolutionAware] * 2
    plain, subpixel = kernels(Blocks(icnr_init=True))
    assert (type(plain), type(subpixel), type(subpixel.initializer)) == (he, ICNR, he)
    _, subpixel = kernels(Blocks(icnr_init=True, conv_aware_init=True))
    assert isinstance(subpixel.initializer, ConvolutionAware)
