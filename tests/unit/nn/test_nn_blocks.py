"""Blocks: names, counters, options."""

from __future__ import annotations

import keras
import pytest
import torch
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


def test_a_conv_block_in_all_its_forms():
    x = keras.Input((16, 16, 3))
    blocks = Blocks()
    assert names(blocks.conv_block(x, 4, normalization="batch"), x) == [
        "conv_4_0_conv2d",
        "conv_4_0_batchnorm",
        "conv_4_0_leakyrelu",
    ]
    assert names(blocks.conv_block(x, 4, normalization="instance", activation=None), x) == [
        "conv_4_1_conv2d",
        "conv_4_1_instancenorm",
    ]
    assert names(blocks.conv_block(x, 4, activation="swish"), x)[-1] == "conv_4_2_swish"
    assert names(blocks.conv_block(x, 4, activation="prelu"), x)[-1] == "conv_4_3_prelu"
    assert names(blocks.conv_block(x, 4, name="entry", slope=0.2), x)[-1] == "entry_leakyrelu"
    depthwise = blocks.conv_block(x, 4, depthwise=True)
    assert names(depthwise, x)[0] == "conv_4_4_dwconv2d"
    assert depthwise.shape == (None, 8, 8, 3)


def test_a_valid_convolution_is_never_mirrored():
    x = keras.Input((8, 8, 3))
    y = Blocks(reflect_padding=True).conv_block(x, 4, 4, 1, padding="valid")
    assert names(y, x)[0] == "conv_4_0_conv2d"
    assert y.shape == (None, 5, 5, 4)


def test_a_separable_convolution():
    x = keras.Input((16, 16, 6))
    y = Blocks().separable(x, 8, initializer=keras.initializers.RandomNormal(0.0, 0.02))
    model = keras.Model(x, y)
    assert names(y, x) == ["separableconv2d_8_0_seperableconv2d", "separableconv2d_8_0_relu"]
    assert y.shape == (None, 8, 8, 8)
    layer = model.layers[1]
    assert layer.depthwise_initializer.stddev == layer.pointwise_initializer.stddev == 0.02


@pytest.mark.parametrize("reflect", [False, True])
def test_a_residual_block_begins_close_to_passing_its_input_on(reflect):
    x = keras.Input((8, 8, 6))
    y = Blocks(reflect_padding=reflect).residual(x, 6)
    expected = [
        "residual_6_0_reflectionpadding2d_0",
        "residual_6_0_conv2d_0",
        "residual_6_0_leakyrelu_1",
        "residual_6_0_reflectionpadding2d_1",
        "residual_6_0_conv2d_1",
        "add",
        "residual_6_0_leakyrelu_3",
    ]
    assert names(y, x) == [n for n in expected if reflect or "reflection" not in n]
    assert y.shape == (None, 8, 8, 6)
    model = keras.Model(x, y)
    assert (
        not keras.Model(x, Blocks().residual(x, 6, bias=False))
        .get_layer("residual_6_1_conv2d_0")
        .use_bias
    )
    model.get_layer("residual_6_0_conv2d_1").kernel.assign(torch.zeros(3, 3, 6, 6))
    values = torch.rand((2, 8, 8, 6))
    assert torch.allclose(model(values), values)


def test_one_initialiser_object_draws_every_kernel_afresh():
    normal = keras.initializers.RandomNormal(0.0, 0.02)
    x = keras.Input((8, 8, 6))
    blocks = Blocks()
    y = blocks.conv_block(x, 6, 3, 1, initializer=normal)
    y = blocks.conv_block(y, 6, 3, 1, initializer=normal)
    y = blocks.dense(keras.layers.Flatten()(y), 384, (8, 8, 6), initializer=normal)
    model = keras.Model(x, y)
    first, second = (model.get_layer(f"conv_6_{i}_conv2d").kernel.value.detach() for i in (0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(model.get_layer("dense").kernel, model.get_layer("dense_1").kernel)
    assert all(abs(v.std() - 0.02) < 0.004 for v in (first, second))


def test_a_code_becomes_a_small_picture():
    x = keras.Input((10,))
    y = Blocks().dense(x, 5, (4, 4, 3))
    assert names(y, x) == ["dense", "dense_1", "reshape"]
    assert y.shape == (None, 4, 4, 3)


def test_a_picture_doubles_once_per_upscaler():
    x = keras.Input((4, 4, 6))
    y = Blocks().picture(x, (8, 4), 1, name="mask_out_a")
    assert names(y, x)[-1] == "mask_out_a_0"
    assert y.shape == (None, 16, 16, 1)


def test_a_larger_shuffle_starts_as_larger_blocks_of_one_colour():
    x = keras.Input((4, 4, 3))
    model = keras.Model(x, Blocks(icnr_init=True).upscale(x, 2, scale=4, activation=None))
    picture = model(torch.rand((1, 4, 4, 3)))
    block = picture[0, 4:8, 8:12]
    assert torch.allclose(block, block[:1, :1].expand_as(block), atol=1e-6)
