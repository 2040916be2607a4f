"""CPU memory that checkpoints are captured into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_kernel import backend

if TYPE_CHECKING:
    import torch

_ALIGN = 64


class Staging:
    """CPU memory that is touched once and then reused for every save.

    Copying into memory that is already there is several times faster than into fresh memory.

    Args:
        size: bytes expected; it grows if a save needs more.
        pinned: for copies from a GPU.
    """

    def __init__(self, size: int, pinned: bool) -> None:
        self._pinned = pinned
        self._buffer = self._allocate(size)
        self._used = 0

    def _allocate(self, size: int) -> torch.Tensor:
        module = backend.torch()
        buffer: torch.Tensor = module.zeros(size, dtype=module.uint8, pin_memory=self._pinned)
        return buffer

    def reset(self) -> None:
        """Start over; what was copied before may be overwritten."""
        if self._used > len(self._buffer):
            self._buffer = self._allocate(self._used)
        self._used = 0

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a contiguous CPU copy, without its graph."""
        torch = backend.torch()
        source = tensor.detach()
        size = source.numel() * source.element_size()
        # Aligned, because a buffer is viewed as the tensor's own type.
        start, self._used = self._used, self._used + -(-size // _ALIGN) * _ALIGN
        if self._used > len(self._buffer):
            return source.to("cpu", copy=True, memory_format=torch.contiguous_format)
        target = self._buffer[start : start + size].view(source.dtype).view(source.shape)
        return target.copy_(source)
