"""The network::

    encoder     face 128x128x3 - conv 128, 256, 512, 1024 - dense 512 - dense 8x8x512 - upscale 512
    decoder_a                    - upscale 512, 256, 128 - face_out_a 128x128x3
    decoder_b                  [ - upscale 512, 256, 128 - mask_out_a 128x128x1 ] with learned mask

Every conv halves the picture, every upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import one_encoder
from keras import layers

#: The width of the smaller network.
LOWMEM: dict[str, Any] = {"width": 256}


def dfl_h128(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    convs: Sequence[int] = (128, 256, 512, 1024),
    width: int = 512,
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, 128, 128, 3)``.
        blocks: makes the blocks as the network options ask.
        convs: filters of the encoder's convolutions.
        width: of the narrowest layer, the 8x8 picture after it, the encoder's result and the first
            upscaler; the others have a half and a quarter of it.
        learn_mask: give each decoder a second output, the mask.
    """
    ups = (width, width // 2, width // 4)

    def encode(x: Tensor) -> Tensor:
        for filters in convs:
            x = blocks.conv_block(x, filters)
        x = blocks.dense(layers.Flatten()(x), width, (8, 8, width))
        return blocks.upscale(x, width)

    def decode(code: Tensor, side: Side) -> list[Tensor]:
        pictures = [blocks.picture(code, ups, 3, name=f"face_out_{side}")]
        if learn_mask:
            pictures.append(blocks.picture(code, ups, 1, name=f"mask_out_{side}"))
        return pictures

    return one_encoder("dfl_h128", inputs, encode, decode, learn_mask=learn_mask)
