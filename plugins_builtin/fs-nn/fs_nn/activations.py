"""Name blocks, and apply the activations that blocks offer."""

from __future__ import annotations

from typing import Literal, TypeAlias

import keras
from keras import layers

Tensor: TypeAlias = keras.KerasTensor
Activation: TypeAlias = Literal["leaky_relu", "swish", "prelu"]


def counted(base: str) -> str:
    """Return the next name of a block since the session began: ``base_0``, ``base_1``, ..."""
    return f"{base}_{keras.backend.get_uid(f'fs_nn/{base}') - 1}"


def activate(x: Tensor, kind: Activation, name: str, slope: float) -> Tensor:
    """Apply the activation of the block ``name``; ``slope`` is LeakyReLU's below zero."""
    if kind == "leaky_relu":
        return layers.LeakyReLU(slope, name=f"{name}_leakyrelu")(x)
    if kind == "prelu":
        return layers.PReLU(name=f"{name}_prelu")(x)
    return layers.Activation("silu", name=f"{name}_swish")(x)
