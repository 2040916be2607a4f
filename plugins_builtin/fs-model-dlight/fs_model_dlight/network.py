"""The network, for 256 px and the best features::

    encoder     face 128x128x3 - join 32, 64, 128, 256, 512 - dense 1664 - dense 4x4x1024
    decoder_a     - resize x4 - hybrid 256, 128, 64, 32 - face_out 256x256x3
                            [ - hybrid 128, 64, 32, 16 - mask_out 256x256x1 ]   with a learned mask
    decoder_b     - hybrid x4 + 3 residuals 512
                            - hybrid + 2 residuals 512 - batch norm - hybrid + residual 256
                            - hybrid + residual 128 - batch norm - hybrid 64 - face_out
                            [ - hybrid 128, 64, 32, 16 - mask_out ]
    or fast:
    decoder_b_fast  - upscale x4 512 - fast 512, 256, 128, 64 - face_out
                            [ - hybrid 128, 64, 32, 16 - mask_out ]

A join halves the picture by a convolution and by pooling, and keeps the channels of both; hybrid
and fast (`fs_nn.upscalers`) double it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fs_kernel.types import Network, Side
from fs_nn import upscalers
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import one_encoder
from keras import layers

#: The encoder's widths by option ``features``.
FEATURES: dict[str, dict[str, Any]] = {
    "lowmem": {"first": 24, "dense": 640},
    "fair": {"first": 32, "dense": 1152},
    "best": {"first": 32, "dense": 1664},
}


def dlight(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    first: int = 32,
    dense: int = 1664,
    bottleneck: int = 1024,
    scale: int = 4,
    fast: bool = False,
    ups_a: Sequence[int] = (256, 128, 64, 32),
    ups_b: Sequence[int] = (512, 512, 256, 128, 64),
    ups_mask: Sequence[int] = (128, 64, 32, 16),
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, 128, 128, 3)``.
        blocks: makes the blocks as the network options ask.
        first: filters of the encoder's first convolution; each of the next four doubles them.
        dense: width of the narrowest layer.
        bottleneck: channels of the 4x4 picture after it.
        scale: factor by which decoders enlarge it at first; 16 times that is doubled four times.
        fast: give all sides but "a" the simpler decoder.
        ups_a: channels of the upscalers of side "a".
        ups_b: channels of the upscalers of the other sides.
        ups_mask: channels of the masks' upscalers.
        learn_mask: give each decoder a second output, the mask.
    """

    def encode(x: Tensor) -> Tensor:
        for filters in (first, 2 * first, 4 * first, 8 * first, 16 * first):
            sharp = blocks.conv_block(x, filters)
            smooth = layers.LeakyReLU(0.1)(layers.AveragePooling2D(2)(x))
            x = layers.Concatenate()([sharp, smooth])
        x = layers.Flatten()(x)
        for units in (dense, 4 * 4 * bottleneck):
            x = layers.Dropout(0.05)(layers.Dense(units)(x))
        return layers.Reshape((4, 4, bottleneck))(x)

    def hybrids(x: Tensor, widths: Sequence[int]) -> Tensor:
        for filters in widths:
            x = upscalers.hybrid(blocks, x, filters)
        return x

    def residuals(x: Tensor, filters: int, *biases: bool) -> Tensor:
        x = layers.LeakyReLU(0.2)(x)
        for bias in biases:
            x = blocks.residual(x, filters, bias=bias)
        return x

    def pictures(x: Tensor, for_mask: Callable[[], Tensor]) -> list[Tensor]:
        made = [blocks.output(x, 3, name="face_out")]
        if learn_mask:
            made.append(blocks.output(hybrids(for_mask(), ups_mask), 1, name="mask_out"))
        return made

    def decode_a(code: Tensor) -> list[Tensor]:
        large = layers.UpSampling2D(scale, interpolation="bilinear")(code)
        return pictures(hybrids(large, ups_a), lambda: large)

    def decode_fast(code: Tensor) -> list[Tensor]:
        x = large = blocks.upscale(code, ups_b[0], scale=scale)
        for filters in ups_b[1:]:
            x = upscalers.fast(blocks, x, filters)
        return pictures(x, lambda: large)

    def decode_good(code: Tensor) -> list[Tensor]:
        large = upscalers.hybrid(blocks, code, ups_b[0], scale, activation=None)
        x = residuals(large, ups_b[0], True, False, False)
        x = upscalers.hybrid(blocks, x, ups_b[1], activation=None)
        x = layers.BatchNormalization()(residuals(x, ups_b[1], True, False))
        x = upscalers.hybrid(blocks, x, ups_b[2], activation=None)
        x = residuals(x, ups_b[2], True)
        x = upscalers.hybrid(blocks, x, ups_b[3], activation=None)
        x = layers.BatchNormalization()(residuals(x, ups_b[3], False))
        return pictures(hybrids(x, ups_b[4:]), lambda: layers.LeakyReLU(0.1)(large))

    def decode(code: Tensor, side: Side) -> list[Tensor]:
        if side == "a":
            return decode_a(code)
        return decode_fast(code) if fast else decode_good(code)

    decoders = {side: f"decoder_{side}_fast" for side in inputs if fast and side != "a"}
    return one_encoder("dlight", inputs, encode, decode, learn_mask=learn_mask, decoders=decoders)
