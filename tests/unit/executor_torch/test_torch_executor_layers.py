"""Every layer of the table against Keras, and what happens to those that are not in it."""

from __future__ import annotations

import keras
import pytest
import torch
from fast_cases import close, fast, gradients_close, one_side, pictures, plain, step
from fs_executor_torch.fallback import Fallback
from fs_executor_torch.layers import TABLE
from fs_kernel import networks
from fs_nn.layers import PixelShuffler, ReflectionPadding2D
from fs_nn.normalization import AdaInstanceNormalization, InstanceNormalization
from fs_nn.vit import FirstToken, QuickGELU
from keras import layers

PICTURE, TOKENS, VECTOR = (8, 8, 4), (16, 4), (5,)
#: A layer, the shape it is called with (without the batch), and how many inputs it takes.
LAYERS = [
    *((layers.Activation(name), PICTURE, 1) for name in ("relu", "silu", "gelu", "tanh", "elu")),
    *((layers.Activation(name), VECTOR, 1) for name in ("hard_sigmoid", "selu", "softplus")),
    (layers.LeakyReLU(0.1), PICTURE, 1),
    (layers.LeakyReLU(0.0), PICTURE, 1),
    (layers.ReLU(), PICTURE, 1),
    (layers.ReLU(6.0), PICTURE, 1),
    (layers.ReLU(negative_slope=0.3), PICTURE, 1),
    (layers.PReLU(alpha_initializer="ones"), PICTURE, 1),
    (layers.PReLU(alpha_initializer="ones", shared_axes=[1, 2]), PICTURE, 1),
    (layers.Softmax(), PICTURE, 1),
    (QuickGELU(), TOKENS, 1),
    *(
        (layers.Conv2D(6, size, stride, padding, activation="relu"), PICTURE, 1)
        for size, stride in ((3, 1), (4, 1), (5, 2), (4, 3), (1, 2))
        for padding in ("same", "valid")
    ),
    (layers.Conv2D(6, 3, padding="same", dilation_rate=2, use_bias=False), PICTURE, 1),
    (layers.Conv2D(6, 3, padding="same", groups=2), PICTURE, 1),
    *(
        (layers.Conv2DTranspose(6, size, 2, padding), PICTURE, 1)
        for size in (2, 3, 4, 5)
        for padding in ("same", "valid")
    ),
    (layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2), PICTURE, 1),
    (layers.SeparableConv2D(6, 5, 2, "same", depth_multiplier=2), PICTURE, 1),
    (layers.Dense(7, activation="sigmoid"), VECTOR, 1),
    (layers.Dense(7, use_bias=False), PICTURE, 1),
    (layers.Dense(7), TOKENS, 1),
    (layers.BatchNormalization(), PICTURE, 1),
    (layers.BatchNormalization(scale=False, center=False), VECTOR, 1),
    (layers.LayerNormalization(), PICTURE, 1),
    (layers.LayerNormalization(scale=False), TOKENS, 1),
    (layers.GroupNormalization(2), PICTURE, 1),
    (layers.GroupNormalization(2), TOKENS, 1),
    (layers.RMSNormalization(), PICTURE, 1),
    (InstanceNormalization(), PICTURE, 1),
    (AdaInstanceNormalization(), PICTURE, 3),
    (layers.Dropout(0.0), PICTURE, 1),
    (PixelShuffler((2, 2)), PICTURE, 1),
    (PixelShuffler((1, 4)), PICTURE, 1),
    (ReflectionPadding2D(2, 5), PICTURE, 1),
    (ReflectionPadding2D(1, 1), PICTURE, 1),
    (layers.ZeroPadding2D(((0, 1), (2, 3))), PICTURE, 1),
    (layers.Cropping2D(((0, 1), (2, 3))), PICTURE, 1),
    (layers.Flatten(), PICTURE, 1),
    (layers.Flatten(), TOKENS, 1),
    (layers.Reshape((4, 4, -1)), PICTURE, 1),
    (layers.Reshape((-1,)), PICTURE, 1),
    (layers.UpSampling2D((2, 3)), PICTURE, 1),
    (layers.UpSampling2D(2, interpolation="bilinear"), PICTURE, 1),
    (layers.UpSampling2D(4, interpolation="bilinear"), PICTURE, 1),
    (layers.Concatenate(), PICTURE, 3),
    (layers.Concatenate(axis=1), PICTURE, 2),
    (layers.Concatenate(), VECTOR, 2),
    (layers.Add(), PICTURE, 3),
    *((kind(), PICTURE, 2) for kind in (layers.Subtract, layers.Multiply, layers.Average)),
    *((kind(), PICTURE, 2) for kind in (layers.Maximum, layers.Minimum)),
    (layers.Rescaling(2.0, -1.0), PICTURE, 1),
    (FirstToken(), TOKENS, 1),
    *(
        (layers.MaxPooling2D(size, 2, padding), PICTURE, 1)
        for size, padding in ((2, "valid"), (3, "same"))
    ),
    *(
        (layers.AveragePooling2D(size, 2, padding), PICTURE, 1)
        for size, padding in ((2, "valid"), (3, "same"))
    ),
    (layers.GlobalAveragePooling2D(), PICTURE, 1),
    (layers.GlobalMaxPooling2D(keepdims=True), PICTURE, 1),
]


def parts(forward):
    """The lowered layers and the layers that Keras runs, by the name of their class."""
    inside = list(forward.module.network.children())
    kept = [part._operation[0] for part in inside if isinstance(part, Fallback)]
    return inside, [type(operation).__name__ for operation in kept]


def case(layer, shape, inputs):
    return one_side(type(layer).from_config(layer.get_config()), shape, inputs=inputs)


def test_every_layer_of_the_table_is_tested():
    assert {type(layer) for layer, _, _ in LAYERS} == set(TABLE)


@pytest.mark.parametrize(("layer", "shape", "inputs"), LAYERS, ids=lambda v: getattr(v, "name", ""))
def test_a_layer_does_what_keras_does(layer, shape, inputs):
    if isinstance(layer, AdaInstanceNormalization):
        network = adaptive()
    else:
        network = case(layer, shape, inputs)
    forward, given = fast(network), pictures(network, 3)
    assert type(layer).__name__ not in parts(forward)[1]
    expected, gradients, after = step(network, plain(network), given)
    outputs, own_gradients, own_after = step(network, forward, given)
    assert close(outputs[0], expected[0])
    assert outputs[0].shape == expected[0].shape
    assert gradients_close(gradients, own_gradients)
    assert all(close(own_after[name], after[name]) for name in after)
    with torch.no_grad():
        assert close(forward(given, training=False)[0], plain(network)(given, training=False)[0])


def adaptive():
    """An adaptive norm takes a picture and two vectors of its channels."""
    from fs_kernel.types import Network, Output

    faces = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(faces)
    style = layers.GlobalAveragePooling2D()(faces)
    beta, gamma = (layers.Reshape((1, 1, 4))(layers.Dense(4)(style)) for _ in range(2))
    x = AdaInstanceNormalization()([x, beta, gamma])
    return Network(keras.Model(faces, x), [Output("a", "aux", 0)], sides=("a",))


class Doubling(layers.Layer):
    """A layer of somebody else's, with a weight."""

    def build(self, input_shape):
        self.factor = self.add_weight(shape=(), initializer="ones", name="factor")

    def call(self, inputs):
        return inputs * self.factor * 2.0


@pytest.mark.parametrize(
    "layer",
    [Doubling(), layers.Conv2D(4, 3, activation=keras.ops.square), layers.ELU()],
    ids=["own", "own activation", "not in the table"],
)
def test_an_unknown_layer_is_run_by_keras_and_trains(layer):
    network = one_side(layer, PICTURE)
    forward, given = fast(network), pictures(network)
    assert type(layer).__name__ in parts(forward)[1]
    assert bool(forward.module.fallbacks) == bool(layer.weights)
    expected, gradients, _ = step(network, plain(network), given)
    outputs, own_gradients, _ = step(network, forward, given)
    assert close(outputs[0], expected[0])
    assert gradients_close(gradients, own_gradients)
    optimizer = torch.optim.SGD(networks.parameters(network).values(), lr=0.1)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        losses.append(((forward(given)[0] - 0.5) ** 2).mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_a_layer_with_keywords_an_operation_and_a_model_of_another_kind():
    from fs_kernel.types import Network, Output

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = layers.Dense(3)

        def call(self, inputs):
            return self.inner(inputs)

    faces = keras.Input((8, 8, 3))
    x = layers.Reshape((64, 3))(faces)
    attention = layers.MultiHeadAttention(2, 4)
    x = attention(x, value=x, use_causal_mask=True)
    x = keras.ops.reshape(x, (-1, 8, 8, 3)) + 1.0
    x = Own()(keras.Sequential([layers.Conv2D(4, 3), layers.ReLU()])(x))
    network = Network(keras.Model(faces, x), [Output("a", "aux", 0)], sides=("a",))
    given = pictures(network)
    expected, gradients, _ = step(network, plain(network), given)
    outputs, own_gradients, _ = step(network, fast(network), given)
    assert close(outputs[0], expected[0])
    assert gradients_close(gradients, own_gradients)


@pytest.mark.parametrize("number_format", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("stride", [1, 2])
def test_wide_convolutions_of_small_pictures_are_products(monkeypatch, stride, number_format):
    from fs_executor_torch.layers import products

    seen = []
    apply = products.ProductConv.apply
    monkeypatch.setattr(products, "WEIGHTS", 1)
    monkeypatch.setattr(products.ProductConv, "apply", lambda *a: seen.append(1) or apply(*a))
    policy = keras.DTypePolicy(number_format)
    layer = layers.Conv2D(6, 5 - stride, stride, "same", dtype=policy)
    network = one_side(layer, PICTURE, dtype=policy)
    given = pictures(network, 5)
    expected, gradients, _ = step(network, plain(network), given)
    for numbers in (2**23, 100):
        monkeypatch.setattr(products, "_NUMBERS", numbers)
        seen.clear()
        outputs, own_gradients, _ = step(network, fast(network), given)
        half = number_format != "float32"
        assert bool(seen) is not half
        assert close(outputs[0], expected[0], 2e-2 if half else 1e-5)
        assert gradients_close(gradients, own_gradients, 5e-2 if half else 1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("there", [True, False], ids=["oneDNN", "without oneDNN"])
def test_wide_dense_layers_are_products(monkeypatch, bias, there):
    from fs_executor_torch.layers import products

    seen = []
    apply = products.ProductDense.apply
    monkeypatch.setattr(products, "WEIGHTS", 1)
    monkeypatch.setattr(products.ProductDense, "apply", lambda *a: seen.append(1) or apply(*a))
    if not there:
        monkeypatch.setattr(products, "_linear", lambda: None)
    network = one_side(layers.Dense(7, use_bias=bias, activation="tanh"), VECTOR)
    given = pictures(network, 4)
    expected, gradients, _ = step(network, plain(network), given)
    outputs, own_gradients, _ = step(network, fast(network), given)
    assert seen
    assert close(outputs[0], expected[0], 1e-5)
    assert gradients_close(gradients, own_gradients, 1e-4)
