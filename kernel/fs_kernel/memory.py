"""Measure memory, in all and at its peak, and advise what to change when it runs out."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fs_kernel import backend
from fs_kernel.storage import format_bytes

if TYPE_CHECKING:
    import torch

#: Copies of a weight that training holds, four bytes each: itself, its gradient, two moments.
_COPIES = 4
_CGROUP = Path("/sys/fs/cgroup/memory.max")
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


def total(device: torch.device) -> int | None:
    """Return the bytes of memory that ``device`` has: RAM, or a container's limit, for the CPU."""
    if device.type == "cuda":
        return int(backend.torch().cuda.mem_get_info(device)[1])
    import psutil

    sizes = [int(psutil.virtual_memory().total)]
    # psutil does not know control groups: in a container it reports the memory of the host.
    with contextlib.suppress(OSError, ValueError):
        sizes.append(int(_CGROUP.read_text()))
    return min(sizes)


def peak(device: torch.device) -> int | None:
    """Return the most bytes in use since the process began, on ``device`` or, for the CPU, in all.

    None where the system does not say.
    """
    if device.type == "cuda":
        return int(backend.torch().cuda.max_memory_allocated(device))
    import psutil

    # psutil has the peak on Windows only.
    if (peak := getattr(psutil.Process().memory_info(), "peak_wset", None)) is not None:
        return int(peak)
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def advice(parameters: int, batch_size: int, precision: str, device: torch.device) -> str:
    """Return what to change when memory ran out, the option that saves most first.

    Args:
        parameters: numbers in the network.
        batch_size: faces per side per step.
        precision: ``training.precision``.
        device: where it ran out.
    """
    size, fixed = total(device), parameters * 4 * _COPIES
    if size is not None and (batch_size == 1 or fixed > size / 2):
        return (
            f"weights, gradients and moments alone take about {format_bytes(fixed)} of "
            f"{format_bytes(size)} at any batch size; choose a smaller network (see: fs models)"
        )
    half = batch_size // 2 or 1
    saved = "" if size is None else f", which frees about {format_bytes((size - fixed) / 2)}"
    lines = [f"try -b {half}{saved}"]
    if precision == "fp32" and device.type != "cpu":
        lines.append("or --set training.precision=bf16, which about halves the same part")
    return ", ".join(lines)
