"""The network, for 128 px::

    encoder     face 64x64x3 - conv 128, 256, 512, 1024 - dense 1024 - dense 4x4x1024 - upscale 512
    decoder_a                  - upscale + residual 512, 256, 128 - upscale 64 - face_out_a
    decoder_b                [ - upscale 512, 256, 128, 64 - mask_out_a ]   with a learned mask

For 256 px the faces are 128 px large and the decoders begin with one more stage of 1024. Every conv
halves the picture, every upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import one_encoder
from keras import layers

#: The decoders' widths for 256 px.
LARGE: dict[str, Any] = {"ups": (1024, 512, 256, 128)}


def dfaker(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    convs: Sequence[int] = (128, 256, 512, 1024),
    dense: int = 1024,
    bottleneck: int = 1024,
    shared: int = 512,
    ups: Sequence[int] = (512, 256, 128),
    last: int = 64,
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, h, w, 3)``, all of one shape.
        blocks: makes the blocks as the network options ask.
        convs: filters of the encoder's convolutions.
        dense: width of the narrowest layer.
        bottleneck: channels of the 4x4 picture after it.
        shared: channels of the encoder's result, an 8x8 picture.
        ups: filters of the decoders' upscalers that are followed by a residual block.
        last: filters of their last upscaler.
        learn_mask: give each decoder a second output, the mask.
    """
    normal = keras.initializers.RandomNormal(0.0, 0.02)

    def encode(x: Tensor) -> Tensor:
        for filters in convs:
            x = blocks.conv_block(x, filters)
        x = blocks.dense(layers.Flatten()(x), dense, (4, 4, bottleneck))
        return blocks.upscale(x, shared)

    def decode(code: Tensor, side: Side) -> list[Tensor]:
        x = code
        for filters in ups:
            x = blocks.upscale(x, filters, activation=None)
            x = layers.LeakyReLU(0.2)(x)
            x = blocks.residual(x, filters, initializer=normal)
        pictures = [blocks.picture(x, [last], 3, name=f"face_out_{side}")]
        if learn_mask:
            pictures.append(blocks.picture(code, [*ups, last], 1, name=f"mask_out_{side}"))
        return pictures

    return one_encoder("dfaker", inputs, encode, decode, learn_mask=learn_mask)
