"""The networks, for 128 px::

    df    encoder_df         face 128x128x3 - conv 126, 252, 504, 1008
                               - dense 512 - dense 8x8x512 - upscale 512
          decoder_a, _b      - upscale + 2 residuals 504 [ - face_out_32_a ] with multiscale_decoder
                             - upscale + 2 residuals 252 [ - face_out_64_a ]
                             - upscale + 2 residuals 126 - face_out_128_a
                           [ - upscale 168, 84, 42 - mask_out_a ]             with a learned mask

    liae  encoder_liae       face 128x128x3 - conv 126, 252, 504, 1008
          intermediate_both  - dense 256 - dense 8x8x512 - upscale 512
          intermediate_b     the same
          decoder_both       as above, from (both, both) for side a and (b, both) for side b

Every conv halves the picture, every upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping

from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import join, one_encoder, sub_model
from keras import layers


def df(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    code: int = 512,
    encoder_dims: int = 42,
    decoder_dims: int = 21,
    multiscale: bool = False,
    learn_mask: bool = False,
) -> Network:
    """Build the network with a decoder per side over ``inputs``.

    Args:
        inputs: per side ``(n, h, w, 3)``, all of one shape, its edge divisible by 16.
        blocks: makes the blocks as the network options ask.
        code: width of the narrowest layer.
        encoder_dims: a third of the filters of the first convolution.
        decoder_dims: a sixth of the filters of the last upscaler of faces, half of the masks'.
        multiscale: give faces of a quarter and a half of the size too.
        learn_mask: give each decoder one more output, the mask.
    """
    edge = _size(inputs) // 16

    def encode(face: Tensor) -> Tensor:
        x = _flat_code(blocks, face, encoder_dims)
        x = blocks.dense(x, code, (edge, edge, code))
        return blocks.upscale(x, code)

    def decode(x: Tensor, side: Side) -> list[Tensor]:
        return _pictures(blocks, x, side, decoder_dims, multiscale, learn_mask)

    return one_encoder(
        "dfl_sae_df", inputs, encode, decode, learn_mask=learn_mask, encoder="encoder_df"
    )


def liae(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    code: int = 256,
    encoder_dims: int = 42,
    decoder_dims: int = 21,
    multiscale: bool = False,
    learn_mask: bool = False,
) -> Network:
    """Build the network with one decoder over ``inputs``; arguments as in `df`."""
    edge = _size(inputs) // 16
    first, *others = inputs

    def encode(face: Tensor) -> Tensor:
        return _flat_code(blocks, face, encoder_dims)

    def between(x: Tensor) -> Tensor:
        x = blocks.dense(x, code, (edge, edge, 2 * code))
        return blocks.upscale(x, 2 * code)

    def decode(x: Tensor) -> list[Tensor]:
        return _pictures(blocks, x, "both", decoder_dims, multiscale, learn_mask)

    encoder = sub_model("encoder_liae", inputs[first].shape[1:], encode)
    codes = {side: encoder(face) for side, face in inputs.items()}
    shape = codes[first].shape[1:]
    both = sub_model("intermediate_both", shape, between)
    own = {side: sub_model(f"intermediate_{side}", shape, between) for side in others}
    joined = {
        side: layers.Concatenate()([own.get(side, both)(x), both(x)]) for side, x in codes.items()
    }
    decoder = sub_model("decoder_both", joined[first].shape[1:], decode)
    pictures = {side: decoder(x) for side, x in joined.items()}
    return join("dfl_sae_liae", inputs, pictures, learn_mask=learn_mask)


def _size(inputs: Mapping[Side, Tensor]) -> int:
    size: int = next(iter(inputs.values())).shape[1]
    return size


def _flat_code(blocks: Blocks, x: Tensor, dims: int) -> Tensor:
    for factor in (1, 2, 4, 8):
        x = blocks.conv_block(x, 3 * dims * factor)
    return layers.Flatten()(x)


def _pictures(
    blocks: Blocks, code: Tensor, side: Side, dims: int, multiscale: bool, learn_mask: bool
) -> list[Tensor]:
    x, pictures = code, []
    # The numbers in the names are fixed, whatever the size.
    for factor, size in ((8, 32), (4, 64), (2, 128)):
        x = blocks.upscale(x, 3 * dims * factor, activation=None)
        x = layers.LeakyReLU(0.2)(x)
        x = blocks.residual(x, 3 * dims * factor)
        x = blocks.residual(x, 3 * dims * factor)
        if multiscale or size == 128:
            pictures.append(blocks.output(x, 3, name=f"face_out_{size}_{side}"))
    if learn_mask:
        ups = (8 * dims, 4 * dims, 2 * dims)
        pictures.append(blocks.picture(code, ups, 1, name=f"mask_out_{side}"))
    return pictures
