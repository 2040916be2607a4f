"""Normalization layers: those that Keras lacks, and the ones networks choose by name.

Pictures are channels-last ``(n, h, w, c)``.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

#: Below this a variance counts as this much: the root has no slope at 0.
_TINY = 1e-12


def _standardized(x: Any, axes: list[int], epsilon: float) -> Any:
    """Return ``(x - mean) / (std + epsilon)`` over ``axes``: epsilon is outside of the root."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    variance = ops.var(x, axis=axes, keepdims=True)
    return (x - mean) / (ops.sqrt(ops.maximum(variance, _TINY)) + epsilon)


class InstanceNormalization(keras.layers.Layer):
    """Bring each item as a whole, all pixels and channels together, to mean 0 and deviation 1.

    One scale ``gamma`` and one offset ``beta`` for everything, so it is nearer to a layer norm than
    to what is mostly called an instance norm. Computed in float32.

    Args:
        epsilon: added to the standard deviation.
    """

    #: No axis has statistics of its own.
    axis = None

    def __init__(self, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.gamma = self.add_weight(shape=(1,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(1,), initializer="zeros", name="beta")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        x = _standardized(x, list(range(1, len(inputs.shape))), self.epsilon)
        x = x * ops.cast(self.gamma, "float32") + ops.cast(self.beta, "float32")
        return ops.cast(x, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


class AdaInstanceNormalization(keras.layers.Layer):
    """Give each channel of each item the mean and deviation that another network chose.

    Called with ``[x, beta, gamma]``, in this order: ``x`` is ``(n, h, w, c)``, the other two
    ``(n, 1, 1, c)``. Each channel is standardised over its pixels, multiplied by ``gamma`` and
    moved by ``beta`` (Huang & Belongie 2017, arXiv:1703.06868). No weights; always in float32.

    Args:
        epsilon: added to the standard deviation.
    """

    #: Channels keep statistics of their own.
    axis = -1

    def __init__(self, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.epsilon = float(epsilon)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> Any:
        return tuple(input_shape[0])

    def call(self, inputs: Any) -> Any:
        x, beta, gamma = inputs
        return _standardized(x, [1, 2], self.epsilon) * gamma + beta

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


#: What `normalization` can make.
NORMALIZATIONS = ("batch", "group", "instance", "layer", "rms")
#: Channels must be a multiple of this for "group".
GROUPS = 32


def normalization(kind: str) -> keras.layers.Layer:
    """Return the normalization layer that an option names.

    Args:
        kind: "batch" (per channel over the batch), "group" (32 groups of channels, epsilon 1e-6),
            "instance" (`InstanceNormalization`), "layer" (over channels), or "rms" (divide by the
            root mean square over channels, epsilon 1e-8; no offset).
    """
    makers = {
        "batch": layers.BatchNormalization,
        "group": lambda: layers.GroupNormalization(GROUPS, epsilon=1e-6),
        "instance": InstanceNormalization,
        "layer": layers.LayerNormalization,
        "rms": lambda: layers.RMSNormalization(epsilon=1e-8),
    }
    return makers[kind]()
