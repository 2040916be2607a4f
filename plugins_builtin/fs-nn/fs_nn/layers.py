"""Keras layers of face-swap networks that Keras itself does not have.

All pictures are channels-last ``(n, h, w, c)``. The layers have no weights, are written with
`keras.ops` (so gradients flow and the dtype policy holds) and serialise through ``get_config``.
They are not registered with Keras: a graph is read with `custom_objects` given.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fs_nn import vit
from fs_nn.initializers import ICNR, ConvolutionAware
from fs_nn.normalization import AdaInstanceNormalization, InstanceNormalization


class PixelShuffler(keras.layers.Layer):
    """Turn channels into pixels: ``(n, h, w, r*s*c)`` to ``(n, h*r, w*s, c)``.

    Input channels are ordered (row, column, channel): channel ``(i * s + j) * c + k`` becomes
    channel ``k`` of the pixel in row ``i``, column ``j`` of its block. That is TensorFlow's
    depth-to-space; torch's ``pixel_shuffle`` orders (channel, row, column) instead.

    Args:
        size: ``(r, s)``, the factors of height and width.
    """

    def __init__(self, size: tuple[int, int] = (2, 2), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = (int(size[0]), int(size[1]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        rows, columns = self.size
        if channels is None or channels % (rows * columns):
            raise ValueError(f"{channels} channels cannot be shuffled into blocks of {self.size}")
        return (
            batch,
            None if height is None else height * rows,
            None if width is None else width * columns,
            channels // (rows * columns),
        )

    def call(self, inputs: Any) -> Any:
        rows, columns = self.size
        _, height, width, channels = inputs.shape
        depth = channels // (rows * columns)
        blocks = ops.reshape(inputs, (-1, height, width, rows, columns, depth))
        blocks = ops.transpose(blocks, (0, 1, 3, 2, 4, 5))
        return ops.reshape(blocks, (-1, height * rows, width * columns, depth))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


class ReflectionPadding2D(keras.layers.Layer):
    """Mirror the border so that a "valid" convolution gives what a "same" one would.

    Along each axis ``max(kernel_size - stride, 0)`` pixels are added if the size is a multiple of
    the stride, else ``max(kernel_size - size % stride, 0)``; half of them (rounded down) before,
    the rest after. The edge pixel itself is not repeated.

    Args:
        stride: stride of the convolution that follows.
        kernel_size: its kernel's edge.
    """

    def __init__(self, stride: int = 2, kernel_size: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = int(stride)
        self.kernel_size = int(kernel_size)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, channels = input_shape
        (top, bottom), (left, right) = self._pad(height), self._pad(width)
        return (batch, height + top + bottom, width + left + right, channels)

    def call(self, inputs: Any) -> Any:
        _, height, width, _ = inputs.shape
        pads = ((0, 0), self._pad(height), self._pad(width), (0, 0))
        # torch cannot reflect by nothing at all.
        return ops.pad(inputs, pads, mode="reflect") if any(map(any, pads)) else inputs

    def _pad(self, size: int) -> tuple[int, int]:
        total = max(self.kernel_size - (size % self.stride or self.stride), 0)
        return total // 2, total - total // 2

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "stride": self.stride,
            "kernel_size": self.kernel_size,
        }


def custom_objects() -> dict[str, type]:
    """Return every class of fs-nn that a network's graph may contain, by class name.

    A model plugin returns this from its ``custom_objects`` hook.
    """
    classes = (
        PixelShuffler,
        ReflectionPadding2D,
        InstanceNormalization,
        AdaInstanceNormalization,
        *vit.CLASSES,
        ICNR,
        ConvolutionAware,
    )
    return {cls.__name__: cls for cls in classes}


def application_objects() -> dict[str, type]:
    """Return the layers of networks in `keras.applications` that Keras does not export, by name.

    A plugin whose graphs contain such a network returns these from its ``custom_objects`` hook too.
    """
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    return {cls.__name__: cls for cls in (LayerScale, CustomScaleLayer)}
