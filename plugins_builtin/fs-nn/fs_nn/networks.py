"""Make networks of sub-models.

An encoder makes a code of a face, decoders make pictures of a code; a network's outputs are the
pictures of all sides. A decoder gives its faces, small to large, then the mask if one is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from fs_kernel.types import Network, Output, Side

from fs_nn.blocks import Tensor


def sub_model(
    name: str, shape: tuple[int | None, ...], draw: Callable[[Tensor], Any]
) -> keras.Model:
    """Return the sub-model ``name`` that ``draw`` draws from an input of ``shape`` (no batch)."""
    x = keras.Input(shape)
    return keras.Model(x, draw(x), name=name)


def one_encoder(
    name: str,
    inputs: Mapping[Side, Tensor],
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor, Side], Sequence[Tensor]],
    *,
    learn_mask: bool,
    encoder: str = "encoder",
    decoders: Mapping[Side, str] | None = None,
) -> Network:
    """Return the common figure: one encoder for all sides, a decoder for each.

    Args:
        name: of the model.
        inputs: per side ``(n, h, w, 3)``, all of one shape.
        encode: draws the encoder.
        decode: draws the decoder of a side.
        learn_mask: the last picture of each decoder is a mask.
        encoder: name of the encoder.
        decoders: names of decoders that are not called ``decoder_<side>``.
    """
    names = {side: f"decoder_{side}" for side in inputs} | dict(decoders or {})
    shared = sub_model(encoder, next(iter(inputs.values())).shape[1:], encode)
    codes = {side: shared(face) for side, face in inputs.items()}

    def pictures(side: Side, code: Tensor) -> Sequence[Tensor]:
        decoder = sub_model(names[side], code.shape[1:], lambda x: decode(x, side))
        made: Sequence[Tensor] = decoder(code)
        return made

    made = {side: pictures(side, code) for side, code in codes.items()}
    return join(name, inputs, made, learn_mask=learn_mask)


def join(
    name: str,
    inputs: Mapping[Side, Tensor],
    pictures: Mapping[Side, Sequence[Tensor]],
    *,
    learn_mask: bool,
) -> Network:
    """Return the network of these pictures.

    Args:
        name: of the model.
        inputs: per side, what the pictures were made of.
        pictures: per side its faces, then its mask if there is one.
        learn_mask: there is one.
    """
    outputs = [
        Output(side, "mask" if learn_mask and picture is of_side[-1] else "face", picture.shape[1])
        for side, of_side in pictures.items()
        for picture in of_side
    ]
    flat = [picture for of_side in pictures.values() for picture in of_side]
    return Network(keras.Model(list(inputs.values()), flat, name=name), outputs)
