"""Initialisers of fs-nn: each tested numerically once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from fs_nn.blocks import Blocks
from fs_nn.initializers import ICNR, ConvolutionAware
from fs_nn.layers import custom_objects


def drawn(initializer, shape):
    return np.asarray(initializer(shape).detach())


def test_icnr_makes_equal_pixels_in_every_block():
    picture = keras.Input((5, 5, 3))
    model = keras.Model(picture, Blocks(icnr_init=True).upscale(picture, 4))
    y = model(torch.rand(2, 5, 5, 3)).detach().numpy()
    blocks = y.reshape(2, 5, 2, 5, 2, 4)
    np.testing.assert_allclose(
        blocks, np.broadcast_to(blocks[:, :, :1, :, :1], blocks.shape), atol=1e-6
    )
    assert y.std() > 0.01


def test_icnr_draws_with_the_fan_of_the_single_kernel():
    kernel = drawn(ICNR(keras.initializers.GlorotUniform(seed=1)), (3, 3, 8, 64))
    limit = np.sqrt(6 / (9 * 8 + 9 * 16))
    assert 0.95 * limit < np.abs(kernel).max() <= limit


def test_icnr_refuses_filters_that_make_no_block():
    with pytest.raises(ValueError, match="6 filters"):
        ICNR()((3, 3, 4, 6))


def test_conv_aware_has_he_variance():
    kernel = drawn(ConvolutionAware(seed=3), (5, 5, 40, 16))
    assert kernel.shape == (5, 5, 40, 16)
    assert kernel.var() == pytest.approx(2 / (5 * 5 * 40), rel=1e-4)


@pytest.mark.parametrize("edge", [3, 5])
def test_conv_aware_spectra_are_orthogonal(edge):
    """With as many channels as a basis has vectors, the spectrum's real columns stay orthonormal
    over channels. (Column 0 of a half spectrum is its own mirror image, so it is left out.)"""
    size = edge * (edge // 2 + 1)
    kernel = drawn(ConvolutionAware(eps_std=0.0, seed=4), (edge, edge, size, 3)).astype("float64")
    for k in range(3):
        spectrum = np.fft.rfft2(kernel[..., k].transpose(2, 0, 1))[:, :, 1:].reshape(size, -1)
        assert np.abs(spectrum.imag).max() < 1e-5 * np.abs(spectrum.real).max()
        gram = spectrum.real.T @ spectrum.real
        np.testing.assert_allclose(gram / gram[0, 0], np.eye(len(gram)), atol=1e-4)


def test_conv_aware_noise_is_added():
    quiet = drawn(ConvolutionAware(eps_std=0.0, seed=5), (3, 3, 6, 2))
    noisy = drawn(ConvolutionAware(eps_std=0.05, seed=5), (3, 3, 6, 2))
    assert 0.5 < np.corrcoef(quiet.ravel(), noisy.ravel())[0, 1] < 0.999


def test_conv_aware_gives_other_ranks_an_orthogonal_start():
    matrix = drawn(ConvolutionAware(seed=6), (8, 8))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-5)


def test_conv_aware_is_quick_when_its_weights_follow_from_a_file():
    first = ConvolutionAware(seed=7)
    assert not first.get_config()["initialized"]
    first((3, 3, 6, 4))
    again = ConvolutionAware.from_config(first.get_config())
    he_uniform = keras.initializers.HeUniform(seed=7)
    assert torch.equal(again((3, 3, 6, 4)), he_uniform((3, 3, 6, 4)))


def test_seeds_decide():
    keras.utils.set_random_seed(1)
    one, two = ConvolutionAware()((3, 3, 6, 4)), ConvolutionAware()((3, 3, 6, 4))
    keras.utils.set_random_seed(1)
    assert torch.equal(ConvolutionAware()((3, 3, 6, 4)), one)
    assert not torch.equal(one, two)


def test_initializers_survive_a_graph():
    picture = keras.Input((4, 4, 3))
    blocks = Blocks(icnr_init=True, conv_aware_init=True)
    model = keras.Model(picture, blocks.upscale(picture, 4))
    config = keras.saving.serialize_keras_object(model)
    again = keras.saving.deserialize_keras_object(config, custom_objects=custom_objects())
    kernel = again.layers[1].kernel_initializer
    assert isinstance(kernel, ICNR)
    assert isinstance(kernel.initializer, ConvolutionAware)
    assert kernel.initializer.initialized
