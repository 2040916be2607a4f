"""Upscalers: names, shapes, what they compute."""

from __future__ import annotations

import keras
import pytest
import torch
from fs_nn.blocks import Blocks
from fs_nn.upscalers import dny, fast, hybrid, resize


@pytest.fixture(autouse=True)
def _fresh_session():
    keras.utils.clear_session()


EXPECTED = {
    hybrid: [
        "upscale_2_0_conv2d_conv2d",
        "upscale_2_0_conv2d_leakyrelu",
        "upscale2x_4_hyb_0_conv2d",
        "upscale_2_0_pixelshuffler",
        "upscale2x_4_hyb_0_upsampling2D",
        "upscale2x_4_hyb_0_concatenate",
    ],
    fast: [
        "upscale_4_0_conv2d_conv2d",
        "upscale2x_4_fast_0_conv2d",
        "upscale_4_0_conv2d_leakyrelu",
        "upscale2x_4_fast_0_upsampling2D",
        "upscale_4_0_pixelshuffler",
        "add",
    ],
    resize: [
        "upscale_ri_4_0_resize",
        "upscale_ri_4_0_conv",
        "upscale_ri_4_0_convtrans",
        "add",
        "upscale_ri_4_0_leakyrelu",
    ],
    dny: [
        "upscale_dny_4_0_upsample2d",
        "upscale_dny_4_0_conv2d_1_conv2d",
        "upscale_dny_4_0_conv2d_1_leakyrelu",
        "upscale_dny_4_0_conv2d_2_conv2d",
        "upscale_dny_4_0_conv2d_2_leakyrelu",
    ],
}


@pytest.mark.parametrize("upscaler", EXPECTED, ids=lambda u: u.__name__)
def test_names_and_shape(upscaler):
    x = keras.Input((8, 8, 3))
    y = upscaler(Blocks(), x, 4)
    assert [layer.name for layer in keras.Model(x, y).layers[1:]] == EXPECTED[upscaler]
    assert y.shape == (None, 16, 16, 4)


@pytest.mark.parametrize("upscaler", EXPECTED, ids=lambda u: u.__name__)
@pytest.mark.parametrize("activation", [None, "swish", "prelu"])
def test_activations(upscaler, activation):
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, upscaler(Blocks(), x, 4, activation=activation))
    kinds = {type(layer).__name__ for layer in model.layers}
    assert "LeakyReLU" not in kinds
    assert ("Activation" in kinds) == (activation == "swish")
    assert ("PReLU" in kinds) == (activation == "prelu")
    assert model(torch.rand((1, 8, 8, 3))).shape == (1, 16, 16, 4)


@pytest.mark.parametrize("upscaler", [hybrid, fast], ids=lambda u: u.__name__)
def test_scale_of_both_ways(upscaler):
    x = keras.Input((4, 4, 3))
    assert upscaler(Blocks(), x, 4, 3).shape == (None, 12, 12, 4)


@pytest.mark.parametrize("upscaler", EXPECTED, ids=lambda u: u.__name__)
def test_network_options(upscaler):
    x = keras.Input((8, 8, 3))
    blocks = Blocks(reflect_padding=True, icnr_init=True, conv_aware_init=True)
    assert keras.Model(x, upscaler(blocks, x, 4))(torch.rand((1, 8, 8, 3))).shape[1] == 16


def test_sub_pixels_are_sharp_and_the_other_half_is_smooth():
    x = keras.Input((4, 4, 1))
    model = keras.Model(x, hybrid(Blocks(), x, 2, activation=None))
    for layer in model.layers:
        if hasattr(layer, "filters"):
            kernel = torch.zeros(tuple(layer.kernel.shape))
            kernel[1, 1] = 1.0
            layer.kernel.assign(kernel)
    edge = torch.zeros((1, 4, 4, 1))
    edge[:, :, 2:] = 1.0
    sharp, smooth = model(edge)[0, 0].T
    assert sharp.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert smooth.tolist() == [0, 0, 0, 0.25, 0.75, 1, 1, 1]
