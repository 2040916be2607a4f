"""Convolutions and dense layers."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers
from torch import Tensor
from torch.nn import functional

from fs_executor_torch.layers import products
from fs_executor_torch.layers.activations import function_of
from fs_executor_torch.layers.base import Lowered, first, last, require
from fs_executor_torch.layers.kernels import turned

Pads = tuple[int, int]


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> Pads:
    """Return the pixels that Keras's "same" adds before and after an axis of ``size`` pixels."""
    reach = (kernel - 1) * dilation + 1
    total = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return total // 2, total - total // 2


def padded(x: Tensor, pads: tuple[Pads, Pads]) -> tuple[Tensor, Pads]:
    """Return ``x``, padded if the padding is uneven, and the padding left to the convolution.

    Torch's convolutions pad both ends of an axis alike.
    """
    (top, bottom), (left, right) = pads
    if top == bottom and left == right:
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom)), (0, 0)


class _Conv(Lowered):
    """The base of convolutions: stride, padding, bias and the final activation."""

    bias: Tensor | None
    stride: tuple[int, int]
    dilation: tuple[int, int]

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        require(layer.data_format == "channels_last" and layer.padding in ("same", "valid"))
        self.function = function_of(layer.activation)
        self.stride, self.dilation = tuple(layer.strides), tuple(layer.dilation_rate)
        self.same = layer.padding == "same"
        self.hold("bias", layer.bias)
        self.writable = self.function is None

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, dense: bool = False
    ) -> Tensor:
        """Return ``x`` convolved; ``weight`` is ``(out, in, rows, columns)``, 1x1 if ``dense``."""
        weight = weight.to(self.dtype)
        bias = None if bias is None else bias.to(self.dtype)
        if dense:
            return functional.conv2d(x, weight, bias)
        stride, dilation = self.stride, self.dilation
        padding = (0, 0)
        if self.same:
            pads = [
                same_padding(x.shape[2 + i], weight.shape[2 + i], stride[i], dilation[i])
                for i in range(2)
            ]
            x, padding = padded(x, (pads[0], pads[1]))
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def finished(self, x: Tensor) -> Tensor:
        """Return ``x`` after the final activation."""
        return x if self.function is None else self.function(x)


class Conv2D(_Conv):
    """`keras.layers.Conv2D`."""

    kernel: Tensor

    def __init__(self, layer: layers.Conv2D) -> None:
        super().__init__(layer)
        self.hold("kernel", layer._kernel)
        self.groups = int(layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cast(x)
        if self._as_product(x):
            return self.finished(self._product(x))
        kernel = turned(self.kernel.to(self.dtype), x)
        return self.finished(self.convolve(x, kernel, self.bias, self.groups))

    def _as_product(self, x: Tensor) -> bool:
        if self.groups > 1 or self.dilation != (1, 1) or not products.pays(x, self.kernel):
            return False
        pixels = (x.shape[2] // self.stride[0]) * (x.shape[3] // self.stride[1])
        return pixels <= products.PIXELS

    def _product(self, x: Tensor) -> Tensor:
        size = (self.kernel.shape[0], self.kernel.shape[1])
        (top, bottom), (left, right) = (
            same_padding(x.shape[2 + i], size[i], self.stride[i]) if self.same else (0, 0)
            for i in range(2)
        )
        pads = (left, right, top, bottom)
        # torch does not type apply.
        result: Tensor = products.ProductConv.apply(  # type: ignore[no-untyped-call]
            x, self.kernel, self.bias, self.stride, pads
        )
        return result


def _depthwise(kernel: Tensor) -> Tensor:
    """Return ``(rows, columns, in, multiplier)`` as ``(in * multiplier, 1, rows, columns)``."""
    return kernel.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)


class DepthwiseConv2D(_Conv):
    """`keras.layers.DepthwiseConv2D`."""

    kernel: Tensor

    def __init__(self, layer: layers.DepthwiseConv2D) -> None:
        super().__init__(layer)
        self.hold("kernel", layer.kernel)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.kernel.shape[2]
        x = self.convolve(self.cast(x), _depthwise(self.kernel), self.bias, groups)
        return self.finished(x)


class SeparableConv2D(_Conv):
    """`keras.layers.SeparableConv2D`."""

    depthwise: Tensor
    pointwise: Tensor

    def __init__(self, layer: layers.SeparableConv2D) -> None:
        super().__init__(layer)
        self.hold("depthwise", layer.depthwise_kernel)
        self.hold("pointwise", layer.pointwise_kernel)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.depthwise.shape[2]
        x = self.convolve(self.cast(x), _depthwise(self.depthwise), None, groups)
        pointwise = self.pointwise.permute(3, 2, 0, 1)
        return self.finished(self.convolve(x, pointwise, self.bias, 1, dense=True))


class Conv2DTranspose(_Conv):
    """`keras.layers.Conv2DTranspose`; torch pads evenly, so the border is cropped after."""

    kernel: Tensor

    def __init__(self, layer: layers.Conv2DTranspose) -> None:
        super().__init__(layer)
        require(layer.output_padding is None and self.dilation == (1, 1))
        self.hold("kernel", layer.kernel)
        self.surplus = [layer.kernel_size[i] - self.stride[i] for i in range(2)]
        require(min(self.surplus) >= 0)
        self.writable = False

    def forward(self, x: Tensor) -> Tensor:
        x, kernel = self.cast(x), self.kernel.permute(3, 2, 0, 1).to(self.dtype)
        bias = None if self.bias is None else self.bias.to(self.dtype)
        size = [x.shape[2 + i] * self.stride[i] for i in range(2)]
        x = functional.conv_transpose2d(x, kernel, bias, self.stride)
        if self.same:
            for i in range(2):
                x = x.narrow(2 + i, self.surplus[i] // 2, size[i])
        return self.finished(x)


class Dense(Lowered):
    """`keras.layers.Dense`, along the last axis."""

    kernel: Tensor
    bias: Tensor | None

    def __init__(self, layer: layers.Dense) -> None:
        super().__init__(layer)
        self.function = function_of(layer.activation)
        self.hold("kernel", layer._kernel)
        self.hold("bias", layer.bias)
        self.writable = self.function is None

    def forward(self, x: Tensor) -> Tensor:
        x, kernel = self.cast(x), self.kernel.to(self.dtype)
        bias = None if self.bias is None else self.bias.to(self.dtype)
        if x.ndim == 2 and products.pays(x, kernel):
            x = products.ProductDense.apply(x, kernel, bias)  # type: ignore[no-untyped-call]
        else:
            x = first(functional.linear(last(x), kernel.t(), bias))
        return x if self.function is None else self.function(x)


TABLE: dict[type[keras.layers.Layer], type[Lowered]] = {
    layers.Conv2D: Conv2D,
    layers.Conv2DTranspose: Conv2DTranspose,
    layers.Dense: Dense,
    layers.DepthwiseConv2D: DepthwiseConv2D,
    layers.SeparableConv2D: SeparableConv2D,
}
