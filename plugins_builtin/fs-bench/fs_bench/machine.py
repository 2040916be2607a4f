"""Describe the machine, and measure its products, convolutions and copies."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
from fs_kernel import backend

from fs_bench.timing import Figure, in_turn, rates

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Convolutions with the shapes of the networks' heavy ones: channels in, out, edge in, kernel,
#: stride.
CONVOLUTIONS = (
    (128, 256, 32, 5, 2),
    (256, 512, 16, 5, 2),
    (512, 1024, 8, 5, 2),
    (512, 1024, 8, 3, 1),
    (256, 512, 16, 3, 1),
    (128, 256, 32, 3, 1),
)


def facts(device: torch.device) -> dict[str, Any]:
    """Return names and versions of hardware and libraries, as JSON can hold them."""
    return {
        "device": str(device),
        "device_name": _name(device),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "keras": backend.keras().__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(device: torch.device, precisions: list[str], rounds: int, quick: bool) -> list[Figure]:
    """Return the machine's rates in each number format.

    Args:
        device: the one to measure.
        precisions: out of "fp32", "bf16", "fp16".
        rounds: runs of each.
        quick: smaller products and fewer convolutions.
    """
    figures = []
    for precision in precisions:
        figures.append(_gemm(device, precision, rounds, 1024 if quick else 2048))
        figures.append(_convolutions(device, precision, rounds, 4 if quick else 16))
    figures.append(_copy(device, rounds, 2**28 if device.type == "cpu" else 2**30))
    return figures


def _repeated(device: torch.device, call: Any) -> Any:
    """Return a function that repeats ``call`` and then waits for the device.

    On a GPU a call returns before its work is done, so several in a row keep it busy.
    """
    times = 10 if device.type == "cuda" else 1

    def timed() -> None:
        for _ in range(times):
            call()
        synchronize(device)

    timed.times = times  # type: ignore[attr-defined]
    return timed


def _gemm(device: torch.device, precision: str, rounds: int, edge: int) -> Figure:
    edge = 8192 if device.type == "cuda" else edge
    left, right = (torch.rand(edge, edge, device=device, dtype=DTYPES[precision]) for _ in "ab")
    call = _repeated(device, lambda: left @ right)
    found = in_turn({"": call}, rounds)[""]
    amount = 2 * edge**3 * call.times / 1e9
    title = f"matrix product {edge}, {precision}"
    return Figure(f"rate.gemm.{precision}", title, "GFLOP/s", rates(found, amount))


def _convolutions(device: torch.device, precision: str, rounds: int, batch: int) -> Figure:
    """Measure forward and backward passes of each shape, in its faster memory format."""
    if device.type == "cuda":
        batch = 64
    total, amount, times = [0.0] * rounds, 0.0, 1
    for shape in CONVOLUTIONS:
        layouts = {}
        for name in ("contiguous_format", "channels_last"):
            call, flops = _convolution(device, precision, shape, batch, getattr(torch, name))
            layouts[name] = _repeated(device, call)
            times = layouts[name].times
        found = in_turn(layouts, rounds)
        best = min(found.values(), key=lambda seconds: sorted(seconds)[rounds // 2])
        total = [a + b for a, b in zip(total, best, strict=True)]
        amount += flops * times / 1e9
    title = f"convolutions of these networks, {precision}"
    return Figure(f"rate.conv.{precision}", title, "GFLOP/s", rates(total, 1.0 * amount))


def _convolution(
    device: torch.device, precision: str, shape: tuple[int, ...], batch: int, layout: Any
) -> tuple[Any, int]:
    before, filters, edge, kernel, stride = shape
    options: dict[str, Any] = {"device": device, "dtype": DTYPES[precision]}
    x = torch.rand(batch, before, edge, edge, **options).to(memory_format=layout)
    weight = torch.rand(filters, before, kernel, kernel, **options).to(memory_format=layout)
    x.requires_grad_()
    weight.requires_grad_()
    padding = kernel // 2
    result = torch.nn.functional.conv2d(x, weight, None, stride, padding)
    gradient = torch.ones_like(result)
    flops = 3 * 2 * weight.numel() * batch * result.shape[-1] ** 2

    def call() -> None:
        made = torch.nn.functional.conv2d(x, weight, None, stride, padding)
        torch.autograd.grad(made, (x, weight), gradient)

    return call, flops


def _copy(device: torch.device, rounds: int, size: int) -> Figure:
    source = torch.rand(size // 4, device=device)
    target = torch.empty_like(source)
    call = _repeated(device, lambda: target.copy_(source))
    found = in_turn({"": call}, rounds)[""]
    amount = 2 * source.numel() * 4 * call.times / 1e9
    return Figure("rate.copy", "memory, read and written", "GB/s", rates(found, amount))
