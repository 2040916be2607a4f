"""Normalisation layers, held against NumPy."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import torch
from fs_nn.layers import custom_objects
from fs_nn.normalization import (
    NORMALIZATIONS,
    AdaInstanceNormalization,
    InstanceNormalization,
    normalization,
)


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, shape).astype("float32")


def numbers(tensor):
    return tensor.detach().numpy()


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 7)])
def test_instance_norm_is_over_the_whole_item(shape):
    x = pictures(*shape)
    layer = InstanceNormalization()
    layer.build(x.shape)
    layer.gamma.assign([1.5])
    layer.beta.assign([-0.5])
    flat = x.reshape(shape[0], -1).astype("float64")
    expected = (flat - flat.mean(1, keepdims=True)) / (flat.std(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(numbers(layer(x)), (expected * 1.5 - 0.5).reshape(shape), atol=1e-5)
    assert [(w.name, w.shape) for w in layer.weights] == [("gamma", (1,)), ("beta", (1,))]


def test_adaptive_instance_norm_is_over_the_pixels_of_a_channel():
    x, beta, gamma = (
        pictures(2, 3, 4, 5),
        pictures(2, 1, 1, 5, seed=1),
        pictures(2, 1, 1, 5, seed=2),
    )
    mean, deviation = x.mean((1, 2), keepdims=True), x.std((1, 2), keepdims=True)
    expected = (x - mean) / (deviation + 1e-3) * gamma + beta
    layer = AdaInstanceNormalization()
    np.testing.assert_allclose(numbers(layer([x, beta, gamma])), expected, atol=1e-4)
    assert layer.weights == []


def test_adaptive_instance_norm_stays_in_float32():
    layer = AdaInstanceNormalization(dtype="mixed_float16")
    parts = [torch.rand(1, 2, 2, 3).half(), torch.rand(1, 1, 1, 3), torch.rand(1, 1, 1, 3)]
    assert layer(parts).dtype == torch.float32


def test_instance_norm_computes_in_float32_and_answers_in_its_own_type():
    x = torch.full((1, 64, 64, 4), 300.0)
    x[:, ::2] = -300.0
    result = InstanceNormalization(dtype="mixed_float16")(x)
    assert result.dtype == torch.float16
    torch.testing.assert_close(result.float(), x / 300.0, atol=1e-3, rtol=0)


@pytest.mark.parametrize("adaptive", [False, True])
def test_an_even_picture_gives_finite_gradients(adaptive):
    x = torch.full((1, 1, 1, 4), 0.5, requires_grad=True)
    one = torch.ones(1, 1, 1, 4)
    result = AdaInstanceNormalization()([x, one, one]) if adaptive else InstanceNormalization()(x)
    result.sum().backward()
    assert x.grad.isfinite().all()


def test_group_norm():
    x = pictures(2, 3, 3, 64)
    groups = x.reshape(2, 9, 32, 2).astype("float64")
    mean, variance = groups.mean((1, 3), keepdims=True), groups.var((1, 3), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape)
    layer = normalization("group")
    np.testing.assert_allclose(numbers(layer(x)), expected, atol=1e-4)
    assert [(w.name, w.shape) for w in layer.weights] == [("gamma", (64,)), ("beta", (64,))]


def test_rms_norm():
    x = pictures(2, 3, 3, 6) * 1e-4
    expected = x / np.sqrt((x.astype("float64") ** 2).mean(-1, keepdims=True) + 1e-8)
    layer = normalization("rms")
    np.testing.assert_allclose(numbers(layer(x)), expected, atol=1e-5)
    assert [(w.name, w.shape) for w in layer.weights] == [("scale", (6,))]


def test_layer_norm_is_over_channels_and_batch_norm_as_keras_has_it():
    x = pictures(2, 3, 3, 6)
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    layer = normalization("layer")
    np.testing.assert_allclose(numbers(layer(x)), (x - mean) / np.sqrt(variance + 1e-3), atol=1e-4)
    batch = normalization("batch")
    assert (batch.epsilon, batch.momentum) == (1e-3, 0.99)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_norms_are_read_back(kind):
    keras.utils.clear_session()
    x = keras.Input((4, 4, 32))
    model = keras.Model(x, normalization(kind)(x))
    for weight in model.trainable_weights:
        weight.assign(pictures(*weight.shape, seed=3))
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    again = keras.saving.deserialize_keras_object(data, custom_objects=custom_objects())
    again.set_weights(model.get_weights())
    picture = pictures(2, 4, 4, 32)
    np.testing.assert_array_equal(numbers(model(picture)), numbers(again(picture)))
