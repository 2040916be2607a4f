"""Keep the memory of freed tensors in the process (glibc only)."""

from __future__ import annotations

import contextlib
import ctypes

#: glibc's M_MMAP_MAX: map no block by itself; M_TRIM_THRESHOLD: give nothing back; M_TOP_PAD: ask
#: for 64 MB more than is needed. The numbers are those of ``malloc.h``.
_KEEP = {-4: 0, -1: -1, -2: 2**26}


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors free, for those that follow.

    By default glibc gives every freed block of 32 MB and more back to the system and gets it again
    zeroed page by page: for each step of a large network gigabytes of it. Other C libraries are
    left as they are.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        adjust = ctypes.CDLL(None).mallopt
        for name, value in _KEEP.items():
            adjust(name, value)
