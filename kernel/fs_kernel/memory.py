"""How much memory there is, how much was used at most, and what to do when there is too little."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fs_kernel import backend

if TYPE_CHECKING:
    import torch

#: Copies of a weight that training holds, four bytes each: itself, its gradient, two moments.
_COPIES = 4
#: glibc's M_MMAP_MAX: no block of its own from the system; M_TRIM_THRESHOLD: give nothing back;
#: M_TOP_PAD: ask for 64 MB more than is needed. The numbers are those of ``malloc.h``.
_KEEP = {-4: 0, -1: -1, -2: 2**26}
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def keep_freed() -> None:
    """Let this process keep the memory that tensors free, for those that follow; CPU, glibc only.

    By default glibc gives every freed block of 32 MB and more back to the system and gets it anew,
    zeroed page by page: for each step of a large network gigabytes of it.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        adjust = ctypes.CDLL(None).mallopt
        for name, value in _KEEP.items():
            adjust(name, value)


def total(device: torch.device) -> int | None:
    """Bytes of memory that ``device`` has (RAM for the CPU), or None where nobody says."""
    if device.type == "cuda":
        return int(backend.torch().cuda.mem_get_info(device)[1])
    sizes = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):
        sizes.append(int(_CGROUP.read_text()))
    return min(sizes, default=None)


def peak(device: torch.device) -> int | None:
    """Most bytes in use since the process began, on ``device`` or, for the CPU, in all."""
    if device.type == "cuda":
        return int(backend.torch().cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def advice(parameters: int, batch_size: int, precision: str, device: torch.device) -> str:
    """What to change when memory ran out, the option that saves most first.

    Args:
        parameters: numbers in the network.
        batch_size: faces per side per step.
        precision: ``training.precision``.
        device: where it ran out.
    """
    size, fixed = total(device), parameters * 4 * _COPIES
    if size is not None and (batch_size == 1 or fixed > size / 2):
        return (
            f"weights, gradients and moments alone take about {fixed / 1e9:.2g} of "
            f"{size / 1e9:.2g} GB, whatever the batch; choose a smaller network (see: fs models)"
        )
    half = batch_size // 2 or 1
    saved = "" if size is None else f", which frees about {(size - fixed) / 2e9:.2g} GB"
    lines = [f"try -b {half}{saved}"]
    if precision == "fp32" and device.type != "cpu":
        lines.append("or --set training.precision=bf16, which about halves the same part")
    return ", ".join(lines)
