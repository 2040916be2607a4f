"""Build the G-block, which adds style and noise to a picture as StyleGAN's synthesis does.

::

    style    - dense 512 x3 - (beta, gamma for each round)
    picture  - conv - noise - 2 x [conv (2nd round) - adaptive norm - add noise path - lrelu]

After Karras et al. 2018 (arXiv:1812.04948); the noise path is a 1x1 convolution of the round's
noisy input.
"""

from __future__ import annotations

import keras
from fs_nn.blocks import Blocks, counted
from fs_nn.normalization import AdaInstanceNormalization
from keras import layers

_STYLE = 512
_NOISE = 1.0

Shape = tuple[int, ...]


def g_block(picture: Shape, style: Shape, name: str, blocks: Blocks) -> keras.Model:
    """Return a G-block with weights of its own.

    Args:
        picture: shape ``(h, w, c)``.
        style: shape of the style vector, ``(k,)``.
        name: "g_block_a", "g_block_b" or "g_block_both".
        blocks: makes the first convolution.

    Returns:
        A model from ``[picture, style]`` to a picture of the same shape.
    """
    inputs = [keras.Input(picture), keras.Input(style)]
    x, chosen = inputs[0], _style(inputs[1])
    channels = picture[-1]
    x = blocks.conv2d(x, channels, 3, name=counted(f"conv2d_{channels}"))
    x = layers.GaussianNoise(_NOISE)(x)
    for round_ in range(2):
        beta, gamma = (_per_channel(chosen, channels) for _ in range(2))
        noise = layers.Conv2D(channels, 1, padding="same")(layers.GaussianNoise(_NOISE)(x))
        if round_ == 1:
            x = layers.Conv2D(channels, 3, padding="same")(x)
        x = AdaInstanceNormalization()([x, beta, gamma])
        x = layers.LeakyReLU(0.2)(layers.Add()([x, noise]))
    return keras.Model(inputs, x, name=name)


def _style(x: keras.KerasTensor) -> keras.KerasTensor:
    for index in range(3):
        if index:
            x = layers.LeakyReLU(0.1)(x)
        x = layers.Dense(_STYLE, kernel_initializer="he_normal")(x)
    return x


def _per_channel(style: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    return layers.Reshape((1, 1, channels))(layers.Dense(channels)(style))
