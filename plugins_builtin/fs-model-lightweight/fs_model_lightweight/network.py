"""The network::

    encoder     face 64x64x3 - conv 128, 256, 512 - dense 512 - dense 4x4x512 - upscale 256
    decoder_a                  - upscale 512, 256, 128 - face_out_a 64x64x3
    decoder_b                [ - upscale 512, 256, 128 - mask_out_a 64x64x1 ]   with a learned mask

Every conv halves the picture, every upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import one_encoder
from keras import layers


def lightweight(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    convs: Sequence[int] = (128, 256, 512),
    dense: int = 512,
    bottleneck: int = 512,
    shared: int = 256,
    ups: Sequence[int] = (512, 256, 128),
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, 64, 64, 3)``.
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

    return one_encoder("lightweight", inputs, encode, decode, learn_mask=learn_mask)
