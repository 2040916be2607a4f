"""Compute wide dense layers and convolutions of small pictures as matrix products on the CPU.

A convolution with large kernels and a result of few pixels (4x4, 8x8) reads its kernel again for
every picture and fills only a part of the vector registers. As one matrix product over all pixels
of the batch the kernel is read once. Nearly all of the widest kernels of face-swap networks lie
around their narrowest pictures, so this is where their steps lose most (see the decision page on
the fast executor).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Pads = tuple[int, int, int, int]

#: Smallest kernel, in numbers, that uses products.
WEIGHTS = 2**20
#: Largest result of a convolution, in pixels per picture, that uses products.
PIXELS = 64

#: Approximate limit of the numbers in the result of `patches`.
_NUMBERS = 2**23


def pays(x: Tensor, kernel: Tensor) -> bool:
    """Return whether products may be faster for this input and kernel."""
    return x.device.type == "cpu" and x.dtype is torch.float32 and kernel.numel() >= WEIGHTS


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` for float32 on the CPU.

    It uses oneDNN, whose products are as fast as its convolutions; the BLAS that torch is linked
    with may be half as fast on processors of another vendor.
    """
    linear = _linear()
    if linear is None:
        return functional.linear(x, weight, bias)
    result: Tensor = linear(x, weight, bias, "none", [], "")
    return result


def _linear() -> Any:
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def patches(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], pads: Pads) -> Tensor:
    """Return what a kernel sees of ``x`` ``(n, c, h, w)``, one row per pixel of the result.

    Args:
        x: pictures, best with channels last in memory.
        kernel: rows and columns.
        stride: steps down and to the right.
        pads: zeros to the left, right, top and bottom.

    Returns:
        ``(n * rows out * columns out, kernel rows * kernel columns * c)``.
    """
    x = functional.pad(x, pads).permute(0, 2, 3, 1)
    windows = x.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
    depth = kernel[0] * kernel[1] * x.shape[3]
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, depth)


class ProductDense(torch.autograd.Function):
    """``x @ kernel + bias`` for ``x`` ``(n, in)`` and ``kernel`` ``(in, out)``."""

    @staticmethod
    def forward(context: Any, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(x, kernel)
        return product(x, kernel.T, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel = context.saved_tensors
        needs = context.needs_input_grad
        return (
            product(gradient, kernel) if needs[0] else None,
            product(x.T, gradient.T) if needs[1] else None,
            gradient.sum(0) if needs[2] else None,
        )


class ProductConv(torch.autograd.Function):
    """A convolution without groups and dilation; ``kernel`` is ``(rows, columns, in, out)``."""

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        pads: Pads,
    ) -> Tensor:
        context.save_for_backward(x, kernel)
        context.stride, context.pads = stride, pads
        size, filters = (kernel.shape[0], kernel.shape[1]), kernel.shape[3]
        left, right, top, bottom = pads
        height = (x.shape[2] + top + bottom - size[0]) // stride[0] + 1
        width = (x.shape[3] + left + right - size[1]) // stride[1] + 1
        shape = (x.shape[0], filters, height, width)
        # A copy, not a view of the products, because the next layer may write over the result.
        result = torch.empty(shape, device=x.device, memory_format=torch.channels_last)
        weight, count = kernel.reshape(-1, filters).T, _at_once(x, kernel, stride)
        for part, to in zip(x.split(count), result.split(count), strict=True):
            rows = to.permute(0, 2, 3, 1).view(-1, filters)
            rows.copy_(product(patches(part, size, stride, pads), weight, bias))
        return result

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel = context.saved_tensors
        size, filters = kernel.shape[:2], kernel.shape[3]
        stride, pads = context.stride, context.pads
        count = _at_once(x, kernel, stride)
        flat = gradient.permute(0, 2, 3, 1).reshape(x.shape[0], -1, filters)
        for_x = for_kernel = for_bias = None
        if context.needs_input_grad[0]:
            weight = kernel.reshape(-1, filters)
            parts = [product(rows.flatten(0, 1), weight) for rows in flat.split(count)]
            shape = (gradient.shape[2], gradient.shape[3])
            pieces = [_gathered(part, x, shape, size, stride, pads) for part in parts]
            for_x = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        if context.needs_input_grad[1]:
            for part, rows in zip(x.split(count), flat.split(count), strict=True):
                seen = patches(part, size, stride, pads)
                share = product(seen.T, rows.flatten(0, 1).T)
                for_kernel = share if for_kernel is None else for_kernel.add_(share)
            for_kernel = None if for_kernel is None else for_kernel.view_as(kernel)
        if context.needs_input_grad[2]:
            for_bias = flat.sum((0, 1))
        return for_x, for_kernel, for_bias, None, None


def _at_once(x: Tensor, kernel: Tensor, stride: tuple[int, int]) -> int:
    """Return how many pictures to take at once, so that `patches` stays small."""
    rows = -(-x.shape[2] // stride[0]) * -(-x.shape[3] // stride[1])
    return max(1, _NUMBERS // (rows * kernel[..., 0].numel()))


def _gathered(
    seen: Tensor,
    x: Tensor,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: Pads,
) -> Tensor:
    """Return the gradient of ``x``: the gradients of `patches`, summed where they came from."""
    _, channels, height, width = x.shape
    left, right, top, bottom = pads
    seen = seen.view(-1, *size, *kernel, channels)
    total = seen.new_zeros(len(seen), height + top + bottom, width + left + right, channels)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            down = slice(row, row + stride[0] * (size[0] - 1) + 1, stride[0])
            across = slice(column, column + stride[1] * (size[1] - 1) + 1, stride[1])
            total[:, down, across] += seen[:, :, :, row, column]
    return total[:, top : top + height, left : left + width].permute(0, 3, 1, 2)
