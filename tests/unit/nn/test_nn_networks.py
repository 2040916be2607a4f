"""Sub-models become a network."""

from __future__ import annotations

import keras
from fs_kernel.types import Output
from fs_nn.blocks import Blocks
from fs_nn.networks import one_encoder


def encode(face):
    return Blocks().conv_block(face, 4)


def decode(code, side):
    small = Blocks().output(code, 3, name=f"small_{side}")
    large = Blocks().picture(code, (3,), 3, name=f"large_{side}")
    return [small, large, Blocks().picture(code, (2,), 1, name=f"mask_{side}")]


def test_one_encoder_and_named_decoders():
    keras.utils.clear_session()
    inputs = {side: keras.Input((16, 16, 3), name=f"face_in_{side}") for side in "ab"}
    network = one_encoder(
        "net", inputs, encode, decode, learn_mask=True, encoder="enc", decoders={"b": "other"}
    )
    assert [layer.name for layer in network.model.layers] == [
        "face_in_a",
        "face_in_b",
        "enc",
        "decoder_a",
        "other",
    ]
    assert network.model.name == "net"
    assert network.outputs == [
        Output(side, kind, size)
        for side in "ab"
        for kind, size in (("face", 8), ("face", 16), ("mask", 16))
    ]
    names = [
        [t._keras_history.operation.name for t in layer.output]
        for layer in network.model.layers[3:]
    ]
    assert names == [[f"small_{s}_0", f"large_{s}_0", f"mask_{s}_0"] for s in "ab"]
