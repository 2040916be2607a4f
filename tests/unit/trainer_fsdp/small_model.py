"""A network whose steps are the same however many processes share them."""

from __future__ import annotations

import keras
from fs_kernel import hookimpl
from fs_kernel.testing import TinyModel
from fs_kernel.types import Network, Output
from keras import layers


class SmallModel(TinyModel):
    """A shared encoder and two decoders without any randomness, in float64.

    Few of its axes have a length that two processes can share.
    """

    name = "small"

    @hookimpl
    def build_model(self, inputs, config):
        exact = {"dtype": "float64"}
        wide = {"padding": "same", "activation": "relu", "name": "conv", **exact}
        start = keras.Input((16, 16, 3))
        x = layers.Flatten(**exact)(layers.Conv2D(8, 5, 2, **wide)(start))
        x = layers.Dense(48, name="code", **exact)(x)
        encoder = keras.Model(start, layers.Reshape((4, 4, 3), **exact)(x), name="encoder")

        def decoder(side):
            code = keras.Input((4, 4, 3))
            x = layers.Conv2DTranspose(7, 4, 4, **wide)(code)
            x = layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="face", **exact)(x)
            return keras.Model(code, x, name=f"decoder_{side}")

        faces = [decoder(side)(encoder(tensor)) for side, tensor in inputs.items()]
        return Network(
            keras.Model(list(inputs.values()), faces, name="small"),
            [Output(side, "face", 16) for side in inputs],
        )
