"""The picture half of CLIP as an encoder: a vision transformer (Radford et al. 2021, 2103.00020).

::

    picture - patches (conv) - class token + positions - norm
            - layers x [norm - attention - add - norm - dense x4 - QuickGELU - dense - add]
            - class token - norm - projection

Transformer blocks are those of Dosovitskiy et al. 2020 (2010.11929) with the norm in front.
"""

from __future__ import annotations

from typing import Any

import attrs
import keras
from keras import layers, ops
from keras.initializers import RandomNormal

_EPSILON = 1e-5
_HEAD = 64


@attrs.frozen
class ViTSize:
    """What tells one vision transformer from another.

    Attributes:
        patch: edge of a patch in pixels.
        layers: transformer blocks.
        width: length of a token's vector; there are ``width / 64`` attention heads.
        embedding: length of the result.
    """

    patch: int
    layers: int
    width: int
    embedding: int


class QuickGELU(keras.layers.Layer):
    """``x * sigmoid(1.702 x)``, the activation that CLIP was trained with."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any) -> Any:
        return inputs * ops.sigmoid(1.702 * inputs)


class ClassToken(keras.layers.Layer):
    """Put a learned token in front of the others: ``(n, t, c)`` to ``(n, t + 1, c)``."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = input_shape[-1]
        assert width is not None
        self.token = self.add_weight(
            shape=(width,), initializer=RandomNormal(stddev=width**-0.5), name="token"
        )

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, tokens, width = input_shape
        return (batch, tokens + 1, width)

    def call(self, inputs: Any) -> Any:
        count, _, width = ops.shape(inputs)
        token = ops.broadcast_to(ops.cast(self.token, inputs.dtype), (count, 1, width))
        return ops.concatenate([token, inputs], axis=1)


class PositionEmbedding(keras.layers.Layer):
    """Add a learned vector to each token by its place in the row."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, tokens, width = input_shape
        assert width is not None
        self.positions = self.add_weight(
            shape=(tokens, width), initializer=RandomNormal(stddev=width**-0.5), name="positions"
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any) -> Any:
        return inputs + ops.cast(self.positions, inputs.dtype)


class FirstToken(keras.layers.Layer):
    """Keep the first token alone: ``(n, t, c)`` to ``(n, c)``."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (input_shape[0], input_shape[2])

    def call(self, inputs: Any) -> Any:
        return inputs[:, 0]


#: What a graph with a vision transformer may contain beside plain Keras.
CLASSES = (QuickGELU, ClassToken, PositionEmbedding, FirstToken)


def transformer_block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Apply attention and a two-layer network, each behind a norm and added to its input.

    Args:
        x: tokens ``(n, t, width)``.
        name: begins the names of the layers.
    """
    width = x.shape[-1]
    attention = layers.MultiHeadAttention(width // _HEAD, _HEAD, name=f"{name}_attention")
    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm_1")(x)
    x = layers.Add(name=f"{name}_add_1")([x, attention(y, y)])
    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm_2")(x)
    y = layers.Dense(width * 4, name=f"{name}_dense_1")(y)
    y = QuickGELU(name=f"{name}_gelu")(y)
    y = layers.Dense(width, name=f"{name}_dense_2")(y)
    return layers.Add(name=f"{name}_add_2")([x, y])


def vision_transformer(
    shape: tuple[int, int, int], size: ViTSize, name: str = "visual"
) -> keras.Model:
    """Build the encoder, with weights of its own.

    Pixels to the right and below that do not fill a patch are left out.

    Args:
        shape: ``(h, w, c)`` of a picture, at least one patch.
        size: its measures.
        name: the model's name.

    Returns:
        ``(n, h, w, c)`` to ``(n, size.embedding)``.
    """
    picture = keras.Input(shape)
    x = layers.Conv2D(size.width, size.patch, size.patch, use_bias=False, name="patches")(picture)
    x = layers.Reshape((-1, size.width), name="tokens")(x)
    x = ClassToken(name="class_token")(x)
    x = PositionEmbedding(name="positions")(x)
    x = layers.LayerNormalization(epsilon=_EPSILON, name="norm_in")(x)
    for index in range(size.layers):
        x = transformer_block(x, f"block_{index}")
    x = FirstToken(name="take_class_token")(x)
    x = layers.LayerNormalization(epsilon=_EPSILON, name="norm_out")(x)
    start = RandomNormal(stddev=size.width**-0.5)
    x = layers.Dense(size.embedding, use_bias=False, kernel_initializer=start, name="project")(x)
    return keras.Model(picture, x, name=name)
