"""The network::

    encoder                  face 64x64x3 - conv 128, 256, 512, 1024
    inter_a, _b, _both         - dense 1024 - dense 4x4x512
    decoder                    - upscale 512, 256, 128, 64 - face_out 64x64x3
                             [ - upscale 512, 256, 128, 64 - mask_out 64x64x1 ]

The decoder of all sides sees (inter_a, inter_both) of faces of side a, (inter_b, inter_both) of
side b. The mask comes with a learned mask. Every conv halves the picture, every upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fs_kernel.types import Network, Side
from fs_nn.blocks import Blocks, Tensor
from fs_nn.networks import join, sub_model
from keras import layers


def iae(
    inputs: Mapping[Side, Tensor],
    blocks: Blocks,
    *,
    convs: Sequence[int] = (128, 256, 512, 1024),
    dense: int = 1024,
    bottleneck: int = 512,
    ups: Sequence[int] = (512, 256, 128, 64),
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, 64, 64, 3)``.
        blocks: makes the blocks as the network options ask.
        convs: filters of the encoder's convolutions.
        dense: width of the narrowest layers, one for each side and one for all.
        bottleneck: channels of the 4x4 pictures after them.
        ups: filters of the decoder's upscalers.
        learn_mask: give the decoder a second output, the mask.
    """

    def encode(x: Tensor) -> Tensor:
        for filters in convs:
            x = blocks.conv_block(x, filters)
        return layers.Flatten()(x)

    def between(x: Tensor) -> Tensor:
        return blocks.dense(x, dense, (4, 4, bottleneck))

    def decode(x: Tensor) -> list[Tensor]:
        pictures = [blocks.picture(x, ups, 3, name="face_out")]
        if learn_mask:
            pictures.append(blocks.picture(x, ups, 1, name="mask_out"))
        return pictures

    encoder = sub_model("encoder", next(iter(inputs.values())).shape[1:], encode)
    codes = {side: encoder(face) for side, face in inputs.items()}
    decoder = sub_model("decoder", (4, 4, 2 * bottleneck), decode)
    inters = {
        name: sub_model(f"inter_{name}", encoder.output.shape[1:], between)
        for name in (*inputs, "both")
    }
    pictures = {
        side: decoder(layers.Concatenate()([inters[side](code), inters["both"](code)]))
        for side, code in codes.items()
    }
    return join("iae", inputs, pictures, learn_mask=learn_mask)
