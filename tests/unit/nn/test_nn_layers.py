"""Layers of fs-nn against what they are defined to do."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
import torch
from fs_nn.layers import PixelShuffler, ReflectionPadding2D, custom_objects


def test_shuffler_puts_row_column_channel_where_it_belongs():
    r, s, depth = 2, 3, 4
    x = np.random.default_rng(0).normal(size=(2, 3, 5, r * s * depth)).astype("float32")
    y = PixelShuffler((r, s))(torch.from_numpy(x)).numpy()
    assert y.shape == (2, 6, 15, depth)
    for row, column, channel in np.ndindex(r, s, depth):
        source = x[..., (row * s + column) * depth + channel]
        np.testing.assert_array_equal(y[:, row::r, column::s, channel], source)


def test_shuffler_refuses_channels_that_make_no_block():
    with pytest.raises(ValueError, match="6 channels"):
        PixelShuffler((2, 2))(keras.Input((4, 4, 6)))


@pytest.mark.parametrize(
    ("size", "stride", "kernel", "pads"),
    [
        (64, 2, 5, (1, 2)),
        (64, 1, 3, (1, 1)),
        (9, 2, 5, (2, 2)),
        (8, 4, 3, (0, 0)),
        (7, 3, 5, (2, 2)),
    ],
)
def test_reflection_pads_as_numpy_does(size, stride, kernel, pads):
    x = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype("float32")
    layer = ReflectionPadding2D(stride, kernel)
    expected = np.pad(x, ((0, 0), pads, pads, (0, 0)), mode="reflect")
    np.testing.assert_array_equal(layer(torch.from_numpy(x)).numpy(), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_gradients_pass_through():
    x = torch.rand(1, 6, 6, 8, dtype=torch.float64, requires_grad=True)
    layers = ReflectionPadding2D(1, 3, dtype="float64"), PixelShuffler(dtype="float64")
    assert torch.autograd.gradcheck(lambda t: layers[1](layers[0](t)), (x,))


def test_a_graph_is_read_back_with_the_classes_given_and_only_then():
    face = keras.Input((8, 8, 3))
    x = ReflectionPadding2D(1, 3)(face)
    x = keras.layers.Conv2D(8, 3)(x)
    model = keras.Model(face, PixelShuffler()(x))
    config = keras.saving.serialize_keras_object(model)
    with pytest.raises(TypeError, match="ReflectionPadding2D"):
        keras.saving.deserialize_keras_object(copy.deepcopy(config))
    again = keras.saving.deserialize_keras_object(config, custom_objects=custom_objects())
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        ours.assign(theirs)
    picture = torch.rand(2, 8, 8, 3)
    assert torch.equal(model(picture), again(picture))


def test_nothing_is_registered_with_keras():
    known = keras.saving.get_custom_objects()
    assert not [name for name in known if "fs_nn" in name or name in custom_objects()]
