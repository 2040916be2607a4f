"""A network that processes train as one does: no normalisation, no dropout, unless asked."""

import attrs
import fs_kernel
import keras
from fs_kernel import hookimpl, option
from fs_kernel.types import NetworkSpec, Output
from keras import layers


@attrs.frozen
class PlainOptions:
    number_format: str = option("float64", "Of all layers.", choices=("float64", "float32"))
    noisy: bool = option(False, "Batch normalisation and dropout.")


@hookimpl
def config_defaults():
    return {"model.plain_net": PlainOptions}


@hookimpl
def network_spec():
    return NetworkSpec({"a": (16, 16, 3), "b": (16, 16, 3)})


@hookimpl
def build_model(inputs, config):
    options = config["model.plain_net"]
    kind = {"dtype": options.number_format}
    start = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 5, 2, "same", activation="relu", name="conv", **kind)(start)
    if options.noisy:
        x = layers.Dropout(0.3, **kind)(layers.BatchNormalization(**kind)(x))
    # Keras's Dense multiplies in float32, whatever its format.
    x = layers.Conv2D(48, 8, name="dense", **kind)(x)
    encoder = keras.Model(start, layers.Reshape((4, 4, 3), **kind)(x), name="encoder")

    def decoder(side):
        code = keras.Input((4, 4, 3), **kind)
        x = layers.Conv2DTranspose(8, 4, 4, "same", activation="relu", name="up", **kind)(code)
        face = layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="face", **kind)(x)
        return keras.Model(code, face, name=f"decoder_{side}")

    faces = [decoder(side)(encoder(tensor)) for side, tensor in inputs.items()]
    model = keras.Model(list(inputs.values()), faces, name="plain")
    return fs_kernel.Network(model, [Output(side, "face", 16) for side in inputs])
