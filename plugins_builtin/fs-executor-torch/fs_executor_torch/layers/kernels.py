"""Convert Keras's kernels ``(rows, columns, in, out)`` to torch's layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Turned(torch.autograd.Function):
    """A kernel as ``(out, in, rows, columns)`` with channels last in memory.

    Forward and backward are then transposes of a matrix, which take a fraction of the time of a
    general copy.
    """

    @staticmethod
    def forward(context: Any, kernel: Tensor) -> Tensor:
        rows, columns, channels, filters = kernel.shape
        flat = kernel.reshape(-1, filters).t().contiguous()
        return flat.view(filters, rows, columns, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        filters, channels, rows, columns = gradient.shape
        flat = gradient.permute(0, 2, 3, 1).reshape(filters, -1)
        return flat.t().contiguous().view(rows, columns, channels, filters)


def turned(kernel: Tensor, like: Tensor) -> Tensor:
    """Return ``kernel`` as ``(out, in, rows, columns)`` in the memory format of ``like``."""
    if not like.is_contiguous(memory_format=torch.channels_last) or not kernel.is_contiguous():
        return kernel.permute(3, 2, 0, 1)
    # torch does not type apply.
    result: Tensor = Turned.apply(kernel)  # type: ignore[no-untyped-call]
    return result
