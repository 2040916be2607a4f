"""The network::

    encoder     face 128x128x3 - conv 128 -+- 16 residuals 128 -+- add
                                           +--------------------+
                               - conv 128 - shuffle - conv 128 - shuffle - conv 128
                               - separable 256 - conv 512 - separable 1024
                               - dense 1024 - dense 8x8x1024 - upscale 512
    decoder_a                  - upscale + residual 512, 256, 128 - face_out_a 128x128x3
    decoder_b                [ - upscale 512, 256, 128 - mask_out_a 128x128x1 ]  with a learned mask

Every conv and separable halves the picture, every shuffle and upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.layers import PixelShuffler
from fs_nn.networks import one_encoder
from keras import layers

#: The smaller network.
LOWMEM: dict[str, Any] = {"residuals": 8, "separables": (256,), "dense": 512}


def villain(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    first: int = 128,
    residuals: int = 16,
    conv: int = 512,
    separables: Sequence[int] = (256, 1024),
    dense: int = 1024,
    bottleneck: int = 1024,
    shared: int = 512,
    ups: Sequence[int] = (512, 256, 128),
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, 128, 128, 3)``.
        blocks: makes the blocks as the network options ask.
        first: filters of the encoder's first four convolutions, divisible by 4.
        residuals: number of residual blocks after the first of them.
        conv: filters of the fifth convolution.
        separables: filters of the separable convolutions, one before the fifth, the rest after.
        dense: width of the narrowest layer.
        bottleneck: channels of the 8x8 picture after it.
        shared: channels of the encoder's result, a 16x16 picture.
        ups: filters of the decoders' upscalers.
        learn_mask: give each decoder a second output, the mask.
    """
    normal = keras.initializers.RandomNormal(0.0, 0.02)

    def encode(face: Tensor) -> Tensor:
        rough = blocks.conv_block(face, first, activation=None, initializer=normal)
        x = layers.LeakyReLU(0.2)(rough)
        for _ in range(residuals):
            x = blocks.residual(x, first, initializer=normal)
        x = layers.Add()([x, layers.LeakyReLU(0.1)(rough)])
        x = blocks.conv_block(x, first, initializer=normal)
        for _ in range(2):
            x = blocks.conv_block(PixelShuffler()(x), first, initializer=normal)
        x = blocks.separable(x, separables[0], initializer=normal)
        x = blocks.conv_block(x, conv, initializer=normal)
        for filters in separables[1:]:
            x = blocks.separable(x, filters, initializer=normal)
        x = blocks.dense(layers.Flatten()(x), dense, (8, 8, bottleneck), initializer=normal)
        return blocks.upscale(x, shared, initializer=normal)

    def decode(code: Tensor, side: Side) -> list[Tensor]:
        x = code
        for filters in ups:
            x = blocks.upscale(x, filters, activation=None, initializer=normal)
            x = layers.LeakyReLU(0.2)(x)
            x = blocks.residual(x, filters, initializer=normal)
        pictures = [blocks.output(x, 3, name=f"face_out_{side}")]
        if learn_mask:
            pictures.append(blocks.picture(code, ups, 1, name=f"mask_out_{side}"))
        return pictures

    return one_encoder("villain", inputs, encode, decode, learn_mask=learn_mask)
