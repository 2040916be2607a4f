"""Small networks for tests of the kernel."""

from __future__ import annotations

import keras
from fs_kernel.types import Network, Output


def encoder(name="encoder", noise=True):
    start = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, 2, "same", name="conv")(start)
    if noise:
        x = keras.layers.GaussianNoise(0.1)(x)
        x = keras.layers.Dropout(0.5)(x)
    return keras.Model(start, x, name=name)


def decoder(name):
    start = keras.Input((4, 4, 4))
    x = keras.layers.BatchNormalization(name="norm")(start)
    x = keras.layers.Conv2DTranspose(4, 3, 2, "same", name="up")(x)
    face = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="conv")(x)
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(x)
    return keras.Model(start, [face, mask], name=name)


def autoencoder(noise=True):
    """One encoder, two decoders whose layers have equal names, a mask each."""
    inputs = [keras.Input((8, 8, 3), name=f"face_in_{side}") for side in "ab"]
    shared, outputs = encoder(noise=noise), []
    for side, start in zip("ab", inputs, strict=True):
        outputs += decoder(f"decoder_{side}")(shared(start))
    described = [Output(s, k, 8) for s in "ab" for k in ("face", "mask")]
    return Network(keras.Model(inputs, outputs, name="net"), described, {}, ("a", "b"))
