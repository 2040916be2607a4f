"""The network, for 64 px in and 128 px out::

    encoder     face 64x64x3 - conv + 2 residuals 128, 256, 512 - conv 1024
    decoder_b     - dense 1536 - dense 4x4x1024 - upscale + residual 1024
                                  - upscale + 2 residuals 512, 256, 128 - upscale 64 - face_out_b
                                [ - upscale 384, 192, 96, 48 - mask_out_b ]   with a learned mask
    decoder_a     - dense 1024 - dense 4x4x682 - upscale + residual 682
                                  - upscale 341, 170, 85, 42 - face_out_a
                                [ - upscale 384, 192, 96, 48 - mask_out_a ]

Decoder a has two thirds of decoder b's widths. Every conv halves the picture, every upscale
doubles it; how often, and the edge of the small picture, follow from the sizes (`plan`).
"""

from __future__ import annotations

from collections.abc import Mapping

from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import one_encoder
from keras import layers


def plan(input_size: int, output_size: int) -> tuple[int, int]:
    """Return the edge of the decoders' first picture, and how often it is doubled.

    Of 4 and 5 doublings (edges of 10 pixels and more excepted) it takes the one whose edge is
    nearer to that of the encoder's result, a 16th of the input.
    """
    choices = [(output_size // 2**ups, ups) for ups in (4, 5) if output_size // 2**ups < 10]
    return min(choices, key=lambda choice: abs(16 * choice[0] - input_size))


def realface(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    output_size: int = 128,
    dense: int = 1536,
    bottleneck: int = 1024,
    encoder: int = 128,
    decoder: int = 512,
    mask: int = 384,
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, h, w, 3)``, all of one shape, its edge divisible by 16.
        blocks: makes the blocks as the network options ask.
        output_size: edge of the pictures, divisible by 32.
        dense: width of the narrowest layer of decoder b.
        bottleneck: channels of the small picture after it if that is 4x4; fewer if it is larger.
        encoder: filters of the first convolution; each of the next three doubles them.
        decoder: filters of decoder b's second upscaler; each further one halves them.
        mask: the same for the masks.
        learn_mask: give each decoder a second output, the mask.
    """
    edge, doublings = plan(next(iter(inputs.values())).shape[1], output_size)
    deep = int(bottleneck - bottleneck / 16 * (edge - 4)) // 16 * 16

    def encode(x: Tensor) -> Tensor:
        for filters in (encoder, 2 * encoder, 4 * encoder):
            x = blocks.conv_block(x, filters, activation=None)
            x = layers.LeakyReLU(0.2)(x)
            x = blocks.residual(x, filters)
            x = blocks.residual(x, filters)
        return blocks.conv_block(x, 8 * encoder)

    def halved(first: int) -> list[int]:
        return [first // 2**i for i in range(doublings - 1)]

    def decode(code: Tensor, side: Side) -> list[Tensor]:
        part = 1.5 if side == "a" else 1
        filters = int(deep / part)
        x = blocks.dense(layers.Flatten()(code), int(dense / part), (edge, edge, filters))
        rough = blocks.upscale(x, filters, activation=None)
        x = layers.LeakyReLU(0.2)(rough)
        x = blocks.residual(x, filters, bias=False)
        *ups, last = halved(int(decoder / part))
        for filters in ups:
            if side == "a":
                x = blocks.upscale(x, filters)
            else:
                x = blocks.upscale(x, filters, activation=None)
                x = layers.LeakyReLU(0.2)(x)
                x = blocks.residual(x, filters, bias=False)
                x = blocks.residual(x, filters)
        pictures = [blocks.picture(x, [last], 3, name=f"face_out_{side}")]
        if learn_mask:
            x = layers.LeakyReLU(0.1)(rough)
            pictures.append(blocks.picture(x, halved(mask), 1, name=f"mask_out_{side}"))
        return pictures

    return one_encoder("realface", inputs, encode, decode, learn_mask=learn_mask)
