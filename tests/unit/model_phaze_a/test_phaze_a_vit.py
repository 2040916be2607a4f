"""The vision transformer, held against NumPy."""

from __future__ import annotations

import json

import keras
import numpy as np
import torch
from fs_nn.layers import custom_objects
from fs_nn.vit import ViTSize, transformer_block, vision_transformer

SIZE = ViTSize(patch=4, layers=2, width=128, embedding=5)


def randomized(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.2, weight.shape).astype("float32"))
    return {w.path.split("/", 1)[-1]: w.numpy() for w in model.weights}


def norm(x, gamma, beta):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def test_one_block():
    keras.utils.clear_session()
    tokens = keras.Input((3, 128))
    model = keras.Model(tokens, transformer_block(tokens, "block"))
    randomized(model)
    get = model.get_layer
    x = np.random.default_rng(1).normal(size=(2, 3, 128))

    y = norm(x, *(w.numpy() for w in get("block_norm_1").weights))
    attention = get("block_attention")
    q, qb, k, kb, v, vb, o, ob = (w.numpy() for w in attention.weights)
    heads = np.zeros_like(x)
    for head in range(2):
        query, key, value = (
            y @ kernel[:, head] + bias[head] for kernel, bias in ((q, qb), (k, kb), (v, vb))
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(64)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        heads += scores / scores.sum(-1, keepdims=True) @ value @ o[head]
    x_1 = x + heads + ob
    y = norm(x_1, *(w.numpy() for w in get("block_norm_2").weights))
    kernel, bias = (w.numpy() for w in get("block_dense_1").weights)
    y = y @ kernel + bias
    assert y.shape[-1] == 4 * 128
    y = y / (1 + np.exp(-1.702 * y))
    kernel, bias = (w.numpy() for w in get("block_dense_2").weights)
    expected = x_1 + y @ kernel + bias

    result = model(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(result, expected, atol=2e-4, rtol=1e-4)


def test_patches_class_token_and_positions():
    keras.utils.clear_session()
    model = vision_transformer((10, 8, 3), SIZE)
    randomized(model)
    picture = np.random.default_rng(2).random((1, 10, 8, 3)).astype("float32")
    kernel = model.get_layer("patches").weights[0].numpy()
    patches = [
        np.einsum("abc,abcd->d", picture[0, y : y + 4, x : x + 4], kernel)
        for y in (0, 4)
        for x in (0, 4)
    ]
    token, places = (
        model.get_layer(name).weights[0].numpy() for name in ("class_token", "positions")
    )
    expected = np.stack([token, *patches]) + places
    part = keras.Model(model.input, model.get_layer("positions").output)
    np.testing.assert_allclose(part(picture).detach().numpy()[0], expected, atol=1e-4)


def test_the_result_is_the_projected_class_token():
    keras.utils.clear_session()
    model = vision_transformer((8, 8, 3), SIZE)
    randomized(model)
    last = model.get_layer("block_1_add_2").output
    picture = np.random.default_rng(3).random((2, 8, 8, 3)).astype("float32")
    tokens = keras.Model(model.input, last)(picture).detach().numpy()
    first = norm(tokens[:, 0], *(w.numpy() for w in model.get_layer("norm_out").weights))
    expected = first @ model.get_layer("project").weights[0].numpy()
    result = model(picture)
    assert result.shape == (2, 5)
    np.testing.assert_allclose(result.detach().numpy(), expected, atol=2e-4)


def test_every_weight_gets_a_gradient_and_the_graph_is_read_back():
    keras.utils.clear_session()
    model = vision_transformer((8, 8, 3), SIZE)
    picture = torch.rand(2, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    result = model(picture)
    result.square().sum().backward()
    assert all(w._value.grad is not None for w in model.trainable_weights)
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    again = keras.saving.deserialize_keras_object(data, custom_objects=custom_objects())
    again.set_weights(model.get_weights())
    torch.testing.assert_close(again(picture), result, atol=1e-6, rtol=0)
