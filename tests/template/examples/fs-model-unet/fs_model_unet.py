"""A U-Net for faces: what the encoder sees at each size is handed across to the decoders.

Skip connections keep hair and background sharp; they also let a face through unchanged, so use few.
"""

from __future__ import annotations

import attrs
from fs_kernel import Network, NetworkSpec, Output, hookimpl, option

SIZE = 64


@attrs.frozen
class Options:
    """Section ``[model.unet]``."""

    width: int = option(32, "Filters at full size.", minimum=2, maximum=128, fixed=True)
    skips: int = option(1, "Sizes handed across.", minimum=0, maximum=3, fixed=True)


@hookimpl
def config_defaults():
    return {"model.unet": Options}


@hookimpl
def network_spec():
    return NetworkSpec({"a": (SIZE, SIZE, 3), "b": (SIZE, SIZE, 3)})


@hookimpl
def build_model(inputs, config):
    import keras

    options = config["model.unet"]
    shared = encoder(options.width)
    faces = [
        decoder(options.width, options.skips, side)(shared(face)) for side, face in inputs.items()
    ]
    model = keras.Model(list(inputs.values()), faces, name="unet")
    return Network(model, [Output(side, "face", SIZE) for side in inputs])


def encoder(width):
    """A face to what is seen at 32, 16 and 8 pixels, and a code of 8 x 8."""
    import keras
    from keras import layers

    face = x = keras.Input((SIZE, SIZE, 3))
    seen = []
    for factor in (1, 2, 4):
        x = layers.LeakyReLU(0.1)(layers.Conv2D(width * factor, 4, 2, "same")(x))
        seen.append(x)
    code = layers.Dense(8 * width)(layers.GlobalAveragePooling2D()(x))
    code = layers.Reshape((8, 8, width))(layers.Dense(64 * width)(code))
    return keras.Model(face, [*seen, code], name="encoder")


def decoder(width, skips, side):
    """A code back to a face, with the last ``skips`` of what was seen joined in."""
    import keras
    from keras import layers

    starts = [keras.Input((SIZE >> n, SIZE >> n, width << (n - 1))) for n in (1, 2, 3)]
    x = code = keras.Input((8, 8, width))
    for level, seen in ((3, starts[2]), (2, starts[1]), (1, starts[0])):
        if level <= skips:
            x = layers.Concatenate()([x, seen])
        x = layers.LeakyReLU(0.1)(layers.Conv2DTranspose(width * level, 4, 2, "same")(x))
    face = layers.Conv2D(3, 3, padding="same", activation="sigmoid", dtype="float32")(x)
    return keras.Model([*starts, code], face, name=f"decoder_{side}")


@hookimpl
def freeze_layers():
    return ["encoder"]
