"""Define a small network with dropout and batch normalization, for ``older_folder_2``.

It uses Keras alone, so that it builds the same network with every release of the kernel.
"""

import keras
from fs_kernel import Network, NetworkSpec, Output, hookimpl
from keras import layers

name = "older_net"


@hookimpl
def network_spec():
    return NetworkSpec({"a": (64, 64, 3), "b": (64, 64, 3)})


@hookimpl
def build_model(inputs, config):
    start = keras.Input((64, 64, 3))
    x = start
    for number, filters in enumerate((6, 8, 8), start=1):
        x = layers.Conv2D(filters, 5, 2, "same", use_bias=False, name=f"conv_{number}")(x)
        x = layers.BatchNormalization(name=f"norm_{number}")(x)
        x = layers.LeakyReLU(0.1, name=f"relu_{number}")(x)
    x = layers.SpatialDropout2D(0.1, name="drop_channels")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(12, name="code")(layers.Dropout(0.2, name="drop")(x))
    x = layers.Dense(8 * 8 * 4, name="spread")(x)
    encoder = keras.Model(start, layers.Reshape((8, 8, 4), name="picture")(x), name="encoder")

    def decoder(side):
        code = keras.Input((8, 8, 4))
        x = layers.Conv2DTranspose(8, 4, 4, "same", activation="relu", name="up_1")(code)
        x = layers.BatchNormalization(name="norm")(x)
        x = layers.Conv2DTranspose(6, 4, 2, "same", activation="relu", name="up_2")(x)
        face = layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="face")(x)
        return keras.Model(code, face, name=f"decoder_{side}")

    faces = [decoder(side)(encoder(tensor)) for side, tensor in inputs.items()]
    model = keras.Model(list(inputs.values()), faces, name="older_net")
    return Network(model, [Output(side, "face", 64) for side in inputs])


@hookimpl
def freeze_layers():
    return ["encoder"]


@hookimpl
def load_layers():
    return ["encoder"]
