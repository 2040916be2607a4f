"""Reduce the encoder's picture to a vector."""

from __future__ import annotations

import keras
from fs_nn.normalization import normalization
from keras import layers

from fs_model_phaze_a.options import PhazeAOptions


def bottleneck(x: keras.KerasTensor, options: PhazeAOptions) -> keras.KerasTensor:
    """Return the encoder's result, a picture or already a vector, as a vector ``(n, k)``."""
    if options.bottleneck_norm != "none":
        x = normalization(options.bottleneck_norm)(x)
    if options.bottleneck_type == "dense":
        x = layers.Dense(options.bottleneck_size)(_flat(x))
    elif options.bottleneck_type == "average_pooling":
        x = layers.GlobalAveragePooling2D()(x)
    elif options.bottleneck_type == "max_pooling":
        x = layers.GlobalMaxPooling2D()(x)
    return _flat(x)


def _flat(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Flatten()(x) if len(x.shape) > 2 else x
