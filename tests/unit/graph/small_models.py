"""Small Keras models, and what they are as JSON."""

from __future__ import annotations

import json

import fs_graph
import keras


def one_layer(call):
    """A model of one convolution and what ``call`` makes of it."""
    start = keras.Input((8, 8, 3), name="start")
    faces = call(keras.layers.Conv2D(3, 3, padding="same", name="conv")(start))
    return keras.Model(start, faces, name="net")


def with_sub_models():
    """Two sub-models with equal layer names, noise and statistics."""

    def decoder(name):
        inside = keras.Input((8, 8, 3))
        x = keras.layers.BatchNormalization(name="norm")(inside)
        x = keras.layers.Dropout(0.5, name="drop")(x)
        x = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="conv")(x)
        return keras.Model(inside, x, name=name)

    start = keras.Input((8, 8, 3), name="start")
    return keras.Model(start, decoder("second")(decoder("first")(start)), name="net")


def graph_of(model):
    """What a file of the model's graph holds."""
    return json.loads(json.dumps(fs_graph.write(model)))
