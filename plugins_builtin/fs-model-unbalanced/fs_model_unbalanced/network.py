"""The network, for 128 px::

    encoder     face 128x128x3 - conv + norm 128, 256 - conv 512, 768, 1024
                               - dense 1024 - dense 8x8x512
    decoder_a     - upscale 384 - dropout - upscale 384 - dropout - upscale 192, 96 - face_out_a
                [ - upscale 384, 384, 192, 96 - mask_out_a ]            with a learned mask
    decoder_b     - upscale + residual 512, 512, 256 - upscale 128 - face_out_b
                [ - upscale 512, 512, 256, 128 - mask_out_b ]

Every conv halves the picture, every upscale doubles it. Upscalers of faces have 5x5 kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import one_encoder
from keras import layers

#: The smaller network.
LOWMEM: dict[str, Any] = {
    "nodes": 512,
    "encoder": 128,
    "bottleneck": 384,
    "decoder_a": 320,
    "decoder_b": 384,
    "dropouts": (0.25, 0.15),
    "residuals": False,
}


def unbalanced(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    nodes: int = 1024,
    encoder: int = 128,
    bottleneck: int = 512,
    decoder_a: int = 384,
    decoder_b: int = 512,
    dropouts: Sequence[float] = (0.25, 0.25),
    residuals: bool = True,
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, h, w, 3)``, all of one shape, its edge divisible by 16.
        blocks: makes the blocks as the network options ask.
        nodes: width of the narrowest layer.
        encoder: filters of the first convolution; the others have 2, 4, 6 and 8 times as many.
        bottleneck: channels of the encoder's result, a picture of a 16th of the size.
        decoder_a: filters of the first upscalers of side "a".
        decoder_b: filters of the first upscalers of the other sides.
        dropouts: share of channels dropped after the first two upscalers of side "a".
        residuals: give the other sides residual blocks; without, each upscaler halves the filters.
        learn_mask: give each decoder a second output, the mask.
    """
    edge = next(iter(inputs.values())).shape[1] // 16
    normal = keras.initializers.RandomNormal(0.0, 0.02)

    def encode(x: Tensor) -> Tensor:
        for filters in (encoder, 2 * encoder):
            x = blocks.conv_block(x, filters, normalization="instance", initializer=normal)
        for filters in (4 * encoder, 6 * encoder, 8 * encoder):
            x = blocks.conv_block(x, filters, initializer=normal)
        shape = (edge, edge, bottleneck)
        return blocks.dense(layers.Flatten()(x), nodes, shape, initializer=normal)

    def face_a(x: Tensor, ups: Sequence[int]) -> Tensor:
        for filters, dropout in zip(ups, dropouts, strict=False):
            x = blocks.upscale(x, filters, 5, initializer=normal)
            x = layers.SpatialDropout2D(dropout)(x)
        for filters in ups[len(dropouts) :]:
            x = blocks.upscale(x, filters, 5, initializer=normal)
        return blocks.output(x, 3, name="face_out_a")

    def face_b(x: Tensor, ups: Sequence[int], side: Side) -> Tensor:
        for filters in ups[:-1]:
            if residuals:
                x = blocks.upscale(x, filters, 5, activation=None, initializer=normal)
                x = layers.LeakyReLU(0.2)(x)
                x = blocks.residual(x, filters, initializer=normal)
            else:
                x = blocks.upscale(x, filters, 5, initializer=normal)
        x = blocks.upscale(x, ups[-1], 5, initializer=normal)
        return blocks.output(x, 3, name=f"face_out_{side}")

    def decode(code: Tensor, side: Side) -> list[Tensor]:
        k = decoder_a if side == "a" else decoder_b
        ups = (k, k, k // 2, k // 4) if side == "a" or residuals else (k, k // 2, k // 4, k // 8)
        pictures = [face_a(code, ups) if side == "a" else face_b(code, ups, side)]
        if learn_mask:
            pictures.append(blocks.picture(code, ups, 1, name=f"mask_out_{side}"))
        return pictures

    return one_encoder("unbalanced", inputs, encode, decode, learn_mask=learn_mask)
