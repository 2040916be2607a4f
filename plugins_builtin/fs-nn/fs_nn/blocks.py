"""The vocabulary networks are written in.

A `Blocks` object holds the user's network options and has one method per block. A method takes a
symbolic tensor, adds its layers, and returns the result, so a network reads like its figure::

    x = blocks.conv_block(x, 128)
    x = blocks.upscale(x, 64)
    face = blocks.output(x, 3, name="face_out_a")

Layers are named after their block and a number counted per name, in the order in which blocks are
made: ``upscale_64_0_pixelshuffler``, ``upscale_64_1_pixelshuffler``. The numbers are kept with
Keras's own automatic names, so ``keras.backend.clear_session()`` starts them again from 0.
"""

from __future__ import annotations

import attrs
import keras
from keras import layers

from fs_nn.initializers import ICNR, ConvolutionAware
from fs_nn.layers import PixelShuffler, ReflectionPadding2D
from fs_nn.options import NetworkOptions


def counted(base: str) -> str:
    """``base_0``, ``base_1``, ...: the next name of a block, counted since the session began."""
    return f"{base}_{keras.backend.get_uid(f'fs_nn/{base}') - 1}"


@attrs.frozen
class Blocks:
    """Makes blocks that obey the network options.

    Attributes:
        reflect_padding: mirror the picture before convolutions of blocks instead of zero padding.
        icnr_init: start upscalers with `fs_nn.initializers.ICNR`.
        conv_aware_init: start convolutions with `fs_nn.initializers.ConvolutionAware`.
    """

    reflect_padding: bool = False
    icnr_init: bool = False
    conv_aware_init: bool = False

    @classmethod
    def of(cls, options: NetworkOptions) -> Blocks:
        """The blocks that a user's options ask for."""
        return cls(options.reflect_padding, options.icnr_init, options.conv_aware_init)

    def conv2d(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        *,
        name: str,
        padding: str = "same",
        subpixel: bool = False,
    ) -> keras.KerasTensor:
        """A convolution with bias, started He-uniform unless the options say otherwise.

        Args:
            x: ``(n, h, w, c)``.
            filters: channels out.
            kernel_size: edge of the kernel.
            strides: step in pixels; "same" gives ``ceil(size / strides)`` pixels.
            name: the layer's name.
            padding: "same" (for even sizes and stride 2 one more after than before) or "valid".
            subpixel: a `PixelShuffler` follows.
        """
        initializer = ConvolutionAware() if self.conv_aware_init else "he_uniform"
        if subpixel and self.icnr_init:
            initializer = ICNR(initializer)
        return layers.Conv2D(
            filters, kernel_size, strides, padding, kernel_initializer=initializer, name=name
        )(x)

    def conv_block(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel_size: int = 5,
        strides: int = 2,
        *,
        name: str | None = None,
        subpixel: bool = False,
    ) -> keras.KerasTensor:
        """Convolution, then LeakyReLU with slope 0.1; halves the picture unless told otherwise.

        Args:
            x: ``(n, h, w, c)``.
            filters: channels out.
            kernel_size: edge of the kernel.
            strides: step in pixels.
            name: used as it is; without one the block is a counted ``conv_<filters>``.
            subpixel: a `PixelShuffler` follows.
        """
        name = name or counted(f"conv_{filters}")
        padding = "same"
        if self.reflect_padding:
            padding = "valid"
            pad = ReflectionPadding2D(strides, kernel_size, name=f"{name}_reflectionpadding2d")
            x = pad(x)
        x = self.conv2d(
            x,
            filters,
            kernel_size,
            strides,
            name=f"{name}_conv2d",
            padding=padding,
            subpixel=subpixel,
        )
        return layers.LeakyReLU(0.1, name=f"{name}_leakyrelu")(x)

    def upscale(self, x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        """Double the picture: convolve to four times the channels, activate, then shuffle.

        Args:
            x: ``(n, h, w, c)``.
            filters: channels of the result ``(n, 2h, 2w, filters)``.
        """
        name = counted(f"upscale_{filters}")
        x = self.conv_block(x, filters * 4, 3, 1, name=f"{name}_conv2d", subpixel=True)
        return PixelShuffler((2, 2), name=f"{name}_pixelshuffler")(x)

    def output(
        self, x: keras.KerasTensor, channels: int, kernel_size: int = 5, *, name: str
    ) -> keras.KerasTensor:
        """A picture or mask, 0..1: convolution and sigmoid, the latter always in float32.

        Args:
            x: ``(n, h, w, c)``.
            channels: 3 for a face, 1 for a mask.
            kernel_size: edge of the kernel.
            name: base of the counted name, for example ``face_out_a``.
        """
        name = counted(name)
        x = self.conv2d(x, channels, kernel_size, name=f"{name}_conv2d")
        return layers.Activation("sigmoid", dtype="float32", name=name)(x)
