"""Ways to double a picture besides `fs_nn.blocks.Blocks.upscale`.

Each is a function of the blocks, a tensor ``(n, h, w, c)`` and the channels out, like a method of
`Blocks`, and gives ``(n, 2h, 2w, filters)``. What arguments mean is told in `fs_nn.blocks`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fs_nn.blocks import Activation, Blocks, Tensor, activate, counted


def hybrid(
    blocks: Blocks,
    x: Tensor,
    filters: int,
    scale: int = 2,
    *,
    activation: Activation | None = "leaky_relu",
) -> Tensor:
    """Make half of the channels by sub-pixels, half by convolution and bilinear resizing.

    Args:
        blocks: makes the blocks.
        x: ``(n, h, w, c)``.
        filters: channels out; one more if odd.
        scale: factor of height and width.
        activation: of the sub-pixel half; the other never has one.
    """
    name = counted(f"upscale2x_{filters}_hyb")
    half = filters - filters // 2
    sharp = blocks.upscale(x, half, scale=scale, activation=activation)
    smooth = _smooth(blocks, x, half, scale, name)
    return layers.Concatenate(name=f"{name}_concatenate")([sharp, smooth])


def fast(
    blocks: Blocks,
    x: Tensor,
    filters: int,
    scale: int = 2,
    *,
    activation: Activation | None = "leaky_relu",
) -> Tensor:
    """Upscale as `hybrid` does, but both ways give all channels and are added."""
    name = counted(f"upscale2x_{filters}_fast")
    sharp = blocks.upscale(x, filters, scale=scale, activation=activation)
    smooth = _smooth(blocks, x, filters, scale, name)
    return layers.Add()([smooth, sharp])


def _smooth(blocks: Blocks, x: Tensor, filters: int, scale: int, name: str) -> Tensor:
    x = blocks.conv2d(x, filters, 3, name=f"{name}_conv2d")
    return layers.UpSampling2D(scale, interpolation="bilinear", name=f"{name}_upsampling2D")(x)


def resize(
    blocks: Blocks,
    x: Tensor,
    filters: int,
    kernel_size: int = 3,
    *,
    activation: Activation | None = "leaky_relu",
    initializer: Any = "he_uniform",
) -> Tensor:
    """Add bilinear resizing with a convolution to a transposed convolution; slope 0.2."""
    name = counted(f"upscale_ri_{filters}")
    smooth = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_resize")(x)
    smooth = blocks.conv2d(
        smooth, filters, kernel_size, name=f"{name}_conv", initializer=initializer
    )
    sharp = layers.Conv2DTranspose(
        filters,
        3,
        2,
        "same",
        kernel_initializer=keras.initializers.get(initializer).clone(),
        name=f"{name}_convtrans",
    )(x)
    x = layers.Add()([smooth, sharp])
    return activate(x, activation, name, 0.2) if activation else x


def dny(
    blocks: Blocks,
    x: Tensor,
    filters: int,
    kernel_size: int = 3,
    *,
    activation: Activation | None = "leaky_relu",
    initializer: Any = "he_uniform",
) -> Tensor:
    """Resize bilinearly, and apply two convolutions with slope 0.2."""
    name = counted(f"upscale_dny_{filters}")
    x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_upsample2d")(x)
    for number in (1, 2):
        x = blocks.conv_block(
            x,
            filters,
            kernel_size,
            1,
            name=f"{name}_conv2d_{number}",
            activation=activation,
            slope=0.2,
            initializer=initializer,
        )
    return x
