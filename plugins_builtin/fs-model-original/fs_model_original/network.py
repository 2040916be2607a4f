"""The network::

    encoder     face 64x64x3 - conv 128, 256, 512, 1024 - dense 1024 - dense 4x4x1024 - upscale 512
    decoder_a                  - upscale 256, 128, 64 - face_out_a 64x64x3
    decoder_b                [ - upscale 256, 128, 64 - mask_out_a 64x64x1 ]   with a learnt mask

Every conv halves the picture, every upscale doubles it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from fs_kernel.types import Network, Output, OutputKind, Side
from fs_nn.blocks import Blocks
from keras import layers

#: The widths of the smaller encoder.
LOWMEM: dict[str, Any] = {"convs": (128, 256, 512), "dense": 512}


def original(
    inputs: Mapping[Side, keras.KerasTensor],
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

    def encoder(shape: tuple[int | None, ...]) -> keras.Model:
        face = x = keras.Input(shape)
        for filters in convs:
            x = blocks.conv_block(x, filters)
        x = layers.Flatten()(x)
        x = layers.Dense(dense)(x)
        x = layers.Dense(4 * 4 * bottleneck)(x)
        x = layers.Reshape((4, 4, bottleneck))(x)
        return keras.Model(face, blocks.upscale(x, shared), name="encoder")

    def picture(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
        for filters in ups:
            x = blocks.upscale(x, filters)
        return blocks.output(x, channels, name=name)

    def decoder(shape: tuple[int | None, ...], side: Side) -> keras.Model:
        code = keras.Input(shape)
        pictures = [picture(code, 3, f"face_out_{side}")]
        if learn_mask:
            pictures.append(picture(code, 1, f"mask_out_{side}"))
        return keras.Model(code, pictures, name=f"decoder_{side}")

    encode = encoder(next(iter(inputs.values())).shape[1:])
    codes = {side: encode(face) for side, face in inputs.items()}
    kinds: tuple[OutputKind, ...] = ("face", "mask") if learn_mask else ("face",)
    pictures, outputs = [], []
    for side, code in codes.items():
        results = decoder(code.shape[1:], side)(code)
        pictures += results
        outputs += [Output(side, k, r.shape[1]) for k, r in zip(kinds, results, strict=True)]
    return Network(keras.Model(list(inputs.values()), pictures, name="original"), outputs)
