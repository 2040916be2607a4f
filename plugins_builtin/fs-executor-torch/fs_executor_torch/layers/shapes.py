"""Layers that move, join or resize what is there, and have no weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fs_nn.layers import PixelShuffler, ReflectionPadding2D
from fs_nn.vit import FirstToken
from keras import layers
from torch import Tensor
from torch.nn import functional

from fs_executor_torch.layers.base import Lowered, channel_axis, first, last, require, wide
from fs_executor_torch.layers.convolutions import same_padding


class Shuffle(Lowered):
    """`fs_nn.layers.PixelShuffler`: channels (row, column, channel) become pixels."""

    writable = True

    def __init__(self, layer: PixelShuffler) -> None:
        super().__init__(layer)
        self.size = layer.size
        require(self.size != (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.cast(x)
        n, channels, height, width = x.shape
        rows, columns = self.size
        depth = channels // (rows * columns)
        if height == width == 1:
            # A view would be right here, but the result must own its memory (`writable`).
            x = x.clone()
        if x.is_contiguous(memory_format=torch.channels_last):
            x = last(x).view(n, height, width, rows, columns, depth).permute(0, 1, 3, 2, 4, 5)
            return first(x.reshape(n, height * rows, width * columns, depth))
        x = x.reshape(n, rows, columns, depth, height, width).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, depth, height * rows, width * columns)


class Reflect(Lowered):
    """`fs_nn.layers.ReflectionPadding2D`."""

    def __init__(self, layer: ReflectionPadding2D) -> None:
        super().__init__(layer)
        self.pads = layer._pad

    def forward(self, x: Tensor) -> Tensor:
        pads = (*self.pads(x.shape[3]), *self.pads(x.shape[2]))
        return functional.pad(self.cast(x), pads, mode="reflect")


class ZeroPadding2D(Lowered):
    """`keras.layers.ZeroPadding2D`."""

    def __init__(self, layer: layers.ZeroPadding2D) -> None:
        super().__init__(layer)
        require(layer.data_format == "channels_last")
        (self.top, self.bottom), (self.left, self.right) = layer.padding

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(self.cast(x), (self.left, self.right, self.top, self.bottom))


class Cropping2D(Lowered):
    """`keras.layers.Cropping2D`."""

    def __init__(self, layer: layers.Cropping2D) -> None:
        super().__init__(layer)
        require(layer.data_format == "channels_last")
        (self.top, self.bottom), (self.left, self.right) = layer.cropping

    def forward(self, x: Tensor) -> Tensor:
        bottom, right = x.shape[2] - self.bottom, x.shape[3] - self.right
        return self.cast(x)[:, :, self.top : bottom, self.left : right]


class Flatten(Lowered):
    """`keras.layers.Flatten`."""

    def __init__(self, layer: layers.Flatten) -> None:
        super().__init__(layer)
        require(layer.data_format == "channels_last")

    def forward(self, x: Tensor) -> Tensor:
        return last(self.cast(x)).flatten(1) if x.ndim > 1 else self.cast(x)[:, None]


class Reshape(Lowered):
    """`keras.layers.Reshape`."""

    def __init__(self, layer: layers.Reshape) -> None:
        super().__init__(layer)
        self.shape = tuple(layer.target_shape)

    def forward(self, x: Tensor) -> Tensor:
        return first(last(self.cast(x)).reshape(x.shape[0], *self.shape))


class UpSampling2D(Lowered):
    """`keras.layers.UpSampling2D`, nearest and bilinear."""

    def __init__(self, layer: layers.UpSampling2D) -> None:
        super().__init__(layer)
        require(layer.data_format == "channels_last")
        require(layer.interpolation in ("nearest", "bilinear"))
        self.size, self.mode = tuple(float(s) for s in layer.size), layer.interpolation

    def forward(self, x: Tensor) -> Tensor:
        x = self.cast(x)
        if self.mode == "nearest":
            return functional.interpolate(x, scale_factor=self.size, mode="nearest")
        size = [int(x.shape[2 + i] * self.size[i]) for i in range(2)]
        y = functional.interpolate(wide(x), size=size, mode="bilinear", align_corners=False)
        return y.to(x.dtype)


class Concatenate(Lowered):
    """`keras.layers.Concatenate`."""

    def __init__(self, layer: layers.Concatenate) -> None:
        super().__init__(layer)
        self.axis = layer.axis

    def forward(self, inputs: list[Tensor]) -> Tensor:
        axis = channel_axis(self.axis, inputs[0].ndim)
        return torch.cat([self.cast(x) for x in inputs], axis)


class Add(Lowered):
    """`keras.layers.Add`."""

    writable = True
    inplace = True

    def forward(self, inputs: list[Tensor], inplace: bool = False) -> Tensor:
        result, *rest = (self.cast(x) for x in inputs)
        if not rest:
            return result.clone()
        for number, x in enumerate(rest):
            own = (inplace or number > 0) and result.shape == x.shape
            result = result.add_(x) if own else result + x
        return result


def _folding(combine: Callable[[Tensor, Tensor], Tensor]) -> type[Lowered]:
    class Folding(Lowered):
        """A layer that combines its inputs one after the other."""

        def forward(self, inputs: list[Tensor]) -> Tensor:
            result, *rest = (self.cast(x) for x in inputs)
            for x in rest:
                result = combine(result, x)
            return result

    return Folding


class Average(Lowered):
    """`keras.layers.Average`."""

    def forward(self, inputs: list[Tensor]) -> Tensor:
        result, *rest = (self.cast(x) for x in inputs)
        for x in rest:
            result = result + x
        return result / len(inputs)


class Rescaling(Lowered):
    """`keras.layers.Rescaling` by two numbers."""

    def __init__(self, layer: layers.Rescaling) -> None:
        super().__init__(layer)
        require(all(isinstance(v, int | float) for v in (layer.scale, layer.offset)))
        self.scale, self.offset = float(layer.scale), float(layer.offset)

    def forward(self, x: Tensor) -> Tensor:
        return self.cast(x) * self.scale + self.offset


class TakeFirst(Lowered):
    """`fs_nn.vit.FirstToken`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.cast(x)[:, 0]


class _Pool(Lowered):
    """The base of pooling layers. Keras pads by repeating the border."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        require(layer.data_format == "channels_last")
        self.size, self.stride = tuple(layer.pool_size), tuple(layer.strides)
        self.same = layer.padding == "same"

    def padded(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Return the input, padded if that is uneven, and the padding left to the pooling."""
        x = self.cast(x)
        if not self.same:
            return x, [0, 0]
        pads = [same_padding(x.shape[2 + i], self.size[i], self.stride[i]) for i in range(2)]
        if all(before == after for before, after in pads):
            return x, [before for before, _ in pads]
        return functional.pad(x, (*pads[1], *pads[0]), mode="replicate"), [0, 0]


class MaxPooling2D(_Pool):
    """`keras.layers.MaxPooling2D`."""

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self.padded(x)
        return functional.max_pool2d(x, self.size, self.stride, padding)


class AveragePooling2D(_Pool):
    """`keras.layers.AveragePooling2D`; pixels that are padding do not count."""

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self.padded(x)
        return functional.avg_pool2d(x, self.size, self.stride, padding, count_include_pad=False)


class _GlobalPool(Lowered):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        require(layer.data_format == "channels_last")
        self.keep = layer.keepdims


class GlobalAveragePooling2D(_GlobalPool):
    """`keras.layers.GlobalAveragePooling2D`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.cast(x).mean((2, 3), keepdim=self.keep)


class GlobalMaxPooling2D(_GlobalPool):
    """`keras.layers.GlobalMaxPooling2D`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.cast(x).amax((2, 3), keepdim=self.keep)


TABLE: dict[type[Any], type[Lowered]] = {
    layers.Add: Add,
    layers.Average: Average,
    layers.AveragePooling2D: AveragePooling2D,
    layers.Concatenate: Concatenate,
    layers.Cropping2D: Cropping2D,
    layers.Flatten: Flatten,
    layers.GlobalAveragePooling2D: GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D: GlobalMaxPooling2D,
    layers.MaxPooling2D: MaxPooling2D,
    layers.Maximum: _folding(torch.maximum),
    layers.Minimum: _folding(torch.minimum),
    layers.Multiply: _folding(torch.mul),
    layers.Rescaling: Rescaling,
    layers.Reshape: Reshape,
    layers.Subtract: _folding(torch.sub),
    layers.UpSampling2D: UpSampling2D,
    layers.ZeroPadding2D: ZeroPadding2D,
    FirstToken: TakeFirst,
    PixelShuffler: Shuffle,
    ReflectionPadding2D: Reflect,
}
