"""The vocabulary networks are written in.

A `Blocks` object holds the user's network options and has one method per block (`fs_nn.upscalers`
has more ways to double a picture). A method takes a symbolic tensor ``(n, h, w, c)``, adds its
layers, and returns the result, so a network reads like its figure::

    x = blocks.conv_block(x, 128)
    x = blocks.upscale(x, 64)
    face = blocks.output(x, 3, name="face_out_a")

Layers are named after their block and a number counted per name, in the order in which blocks are
made: ``upscale_64_0_pixelshuffler``, ``upscale_64_1_pixelshuffler``. The numbers are kept with
Keras's own automatic names, so ``keras.backend.clear_session()`` starts them again from 0.

Arguments that mean the same everywhere: ``filters`` are the channels out, ``kernel_size`` is the
edge of a kernel, ``activation`` is a name of `Activation` or None, and ``initializer`` (an
initializer, its name or its config) draws the kernels unless `Blocks.conv_aware_init` is on. One
initializer object may serve many blocks: each kernel gets draws of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs
import keras
from keras import layers

from fs_nn.activations import Activation, Tensor, activate, counted
from fs_nn.initializers import ICNR, ConvolutionAware
from fs_nn.layers import PixelShuffler, ReflectionPadding2D
from fs_nn.normalization import InstanceNormalization
from fs_nn.options import NetworkOptions

__all__ = ["Activation", "Blocks", "Tensor", "activate", "counted"]


@attrs.frozen
class Blocks:
    """Make blocks that obey the network options.

    Attributes:
        reflect_padding: mirror the picture before convolutions of blocks instead of zero padding.
        icnr_init: start sub-pixel convolutions with `fs_nn.initializers.ICNR`.
        conv_aware_init: start convolutions with `fs_nn.initializers.ConvolutionAware`.
    """

    reflect_padding: bool = False
    icnr_init: bool = False
    conv_aware_init: bool = False

    @classmethod
    def of(cls, options: NetworkOptions) -> Blocks:
        """Return the blocks that a user's options ask for."""
        return cls(options.reflect_padding, options.icnr_init, options.conv_aware_init)

    def conv2d(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        name: str,
        padding: str = "same",
        initializer: Any = "he_uniform",
        bias: bool = True,
        shuffle: int = 1,
    ) -> Tensor:
        """Apply a convolution alone, always zero padded.

        Args:
            x: ``(n, h, w, c)``.
            filters: channels out.
            kernel_size: edge of the kernel.
            strides: step in pixels; "same" gives ``ceil(size / strides)`` pixels.
            name: the layer's name.
            padding: "same" (for even sizes and stride 2 one more after than before) or "valid".
            initializer: of the kernel.
            bias: add a bias.
            shuffle: factor of the `PixelShuffler` that follows; 1 if none does.
        """
        kernel = self._initializer(initializer)
        if shuffle > 1 and self.icnr_init:
            kernel = ICNR(kernel, shuffle)
        return layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding,
            use_bias=bias,
            kernel_initializer=kernel,
            name=name,
        )(x)

    def conv_block(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int = 5,
        strides: int = 2,
        *,
        name: str | None = None,
        padding: str = "same",
        normalization: Literal["instance", "batch"] | None = None,
        activation: Activation | None = "leaky_relu",
        slope: float = 0.1,
        initializer: Any = "he_uniform",
        depthwise: bool = False,
        shuffle: int = 1,
    ) -> Tensor:
        """Apply convolution, normalization, activation; halve the picture unless told otherwise.

        Args:
            x: ``(n, h, w, c)``.
            filters: channels out; for a depthwise block only part of its name.
            kernel_size: edge of the kernel.
            strides: step in pixels.
            name: used as it is; without one the block is a counted ``conv_<filters>``.
            padding: as in `conv2d`; "valid" is never mirrored.
            normalization: before the activation.
            activation: None leaves it out.
            slope: of "leaky_relu" below zero.
            initializer: of the kernel.
            depthwise: filter each channel by itself.
            shuffle: as in `conv2d`.
        """
        name = name or counted(f"conv_{filters}")
        if self.reflect_padding and padding == "same":
            x = _reflect(x, kernel_size, strides, f"{name}_reflectionpadding2d")
            padding = "valid"
        if depthwise:
            x = layers.DepthwiseConv2D(
                kernel_size,
                strides,
                padding,
                depthwise_initializer=self._initializer(initializer),
                name=f"{name}_dwconv2d",
            )(x)
        else:
            x = self.conv2d(
                x,
                filters,
                kernel_size,
                strides,
                name=f"{name}_conv2d",
                padding=padding,
                initializer=initializer,
                shuffle=shuffle,
            )
        if normalization == "instance":
            x = InstanceNormalization(name=f"{name}_instancenorm")(x)
        elif normalization == "batch":
            x = layers.BatchNormalization(name=f"{name}_batchnorm")(x)
        return activate(x, activation, name, slope) if activation else x

    def separable(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int = 5,
        strides: int = 2,
        *,
        initializer: Any = "he_uniform",
    ) -> Tensor:
        """Apply a separable convolution (each channel by itself, then across channels) and ReLU."""
        name = counted(f"separableconv2d_{filters}")
        x = layers.SeparableConv2D(
            filters,
            kernel_size,
            strides,
            "same",
            depthwise_initializer=self._initializer(initializer),
            pointwise_initializer=self._initializer(initializer),
            name=f"{name}_seperableconv2d",
        )(x)
        return layers.Activation("relu", name=f"{name}_relu")(x)

    def residual(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int = 3,
        *,
        initializer: Any = "he_uniform",
        bias: bool = True,
    ) -> Tensor:
        """Add two convolutions of ``x`` to it; LeakyReLU 0.2 between and after.

        Args:
            x: ``(n, h, w, filters)``.
            filters: channels of ``x``.
            kernel_size: edge of both kernels.
            initializer: of the first kernel. The second starts small, from a variance of
                ``0.2 / fan_in``, so that the block begins close to passing ``x`` on.
            bias: give both convolutions one.
        """
        name = counted(f"residual_{filters}")
        small = keras.initializers.VarianceScaling(0.2, "fan_in", "uniform")
        y = self._residual_conv(x, filters, kernel_size, name, 0, initializer, bias)
        y = layers.LeakyReLU(0.2, name=f"{name}_leakyrelu_1")(y)
        y = self._residual_conv(y, filters, kernel_size, name, 1, small, bias)
        y = layers.Add()([y, x])
        return layers.LeakyReLU(0.2, name=f"{name}_leakyrelu_3")(y)

    def _residual_conv(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int,
        name: str,
        number: int,
        initializer: Any,
        bias: bool,
    ) -> Tensor:
        padding = "same"
        if self.reflect_padding:
            x = _reflect(x, kernel_size, 1, f"{name}_reflectionpadding2d_{number}")
            padding = "valid"
        return self.conv2d(
            x,
            filters,
            kernel_size,
            name=f"{name}_conv2d_{number}",
            padding=padding,
            initializer=initializer,
            bias=bias,
        )

    def upscale(
        self,
        x: Tensor,
        filters: int,
        kernel_size: int = 3,
        scale: int = 2,
        *,
        activation: Activation | None = "leaky_relu",
        initializer: Any = "he_uniform",
    ) -> Tensor:
        """Upscale by sub-pixels: ``scale^2`` times the channels, activation, then shuffle.

        Returns:
            ``(n, scale * h, scale * w, filters)``.
        """
        name = counted(f"upscale_{filters}")
        x = self.conv_block(
            x,
            filters * scale**2,
            kernel_size,
            1,
            name=f"{name}_conv2d",
            activation=activation,
            initializer=initializer,
            shuffle=scale,
        )
        return PixelShuffler((scale, scale), name=f"{name}_pixelshuffler")(x)

    def dense(
        self,
        x: Tensor,
        width: int,
        shape: tuple[int, int, int],
        *,
        initializer: Any = "glorot_uniform",
    ) -> Tensor:
        """Turn a flat code ``(n, k)``, by way of ``width`` numbers, into a picture of ``shape``."""
        for units in (width, shape[0] * shape[1] * shape[2]):
            kernel = keras.initializers.get(initializer).clone()
            x = layers.Dense(units, kernel_initializer=kernel)(x)
        return layers.Reshape(shape)(x)

    def output(self, x: Tensor, channels: int, kernel_size: int = 5, *, name: str) -> Tensor:
        """Make a picture or mask, 0..1: convolution and sigmoid, the latter always in float32.

        Args:
            x: ``(n, h, w, c)``.
            channels: 3 for a face, 1 for a mask.
            kernel_size: edge of the kernel.
            name: base of the counted name, for example ``face_out_a``.
        """
        name = counted(name)
        x = self.conv2d(x, channels, kernel_size, name=f"{name}_conv2d")
        return layers.Activation("sigmoid", dtype="float32", name=name)(x)

    def picture(self, x: Tensor, ups: Sequence[int], channels: int, *, name: str) -> Tensor:
        """Apply an `upscale` for each of the filters in ``ups``, then the `output`."""
        for filters in ups:
            x = self.upscale(x, filters)
        return self.output(x, channels, name=name)

    def _initializer(self, given: Any) -> keras.initializers.Initializer:
        # A Keras initializer without a seed still gives the same numbers at each call.
        return ConvolutionAware() if self.conv_aware_init else keras.initializers.get(given).clone()


def _reflect(x: Tensor, kernel_size: int, strides: int, name: str) -> Tensor:
    return ReflectionPadding2D(strides, kernel_size, name=name)(x)
