"""The network::

    encoder     face 64x64x3 - conv 128, 256, 512, 1024 - dense 1024 - dense 4x4x1024 - upscale 512
    decoder_a                  - upscale 256, 128, 64 - face_out_a 64x64x3
    decoder_b                [ - upscale 256, 128, 64 - mask_out_a 64x64x1 ]   with a learned mask

Every conv halves the picture, every upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import one_encoder
from keras import layers

#: The widths of the smaller encoder.
LOWMEM: dict[str, Any] = {"convs": (128, 256, 512), "dense": 512}


def original(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    convs: Sequence[int] = (128, 256, 512, 1024),
    dense: int = 1024,
    bottleneck: int = 1024,
    shared: int = 512,
    ups: Sequence[int] = (256, 128, 64),
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, h, w, c)``, all of one shape.
        blocks: makes the blocks as the network options ask.
        convs: filters of the encoder's convolutions.
        dense: width of the narrowest layer.
        bottleneck: channels of the 4x4 picture after it.
        shared: channels of the encoder's result, an 8x8 picture.
        ups: filters of the decoders' upscalers.
        learn_mask: give each decoder a second output, the mask.
    """

    def encode(x: Tensor) -> Tensor:
        for filters in convs:
            x = blocks.conv_block(x, filters)
        x = blocks.dense(layers.Flatten()(x), dense, (4, 4, bottleneck))
        return blocks.upscale(x, shared)

    def decode(code: Tensor, side: Side) -> list[Tensor]:
        pictures = [blocks.picture(code, ups, 3, name=f"face_out_{side}")]
        if learn_mask:
            pictures.append(blocks.picture(code, ups, 1, name=f"mask_out_{side}"))
        return pictures

    return one_encoder("original", inputs, encode, decode, learn_mask=learn_mask)
