"""Measure training steps with each executor and with the network written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from fs_bench.counting import Work
from fs_bench.handwritten import HandStep
from fs_bench.machine import synchronize
from fs_bench.networks import work_of
from fs_bench.plan import Plan, title_of
from fs_bench.timing import Figure, in_turn

#: Steps between two readings of the losses on a GPU, where each reading waits for the device.
_UNREAD = 10


def measure(plan: Plan, conv: Mapping[str, float]) -> Iterator[Figure]:
    """Yield seconds per step of every network, number format and executor.

    Args:
        plan: what to measure.
        conv: the machine's convolution rate per number format, in GFLOP/s.
    """
    for name, batch in plan.networks:
        work = work_of(name)
        for precision in plan.precisions:
            plan.tell(f"steps of {title_of(name)}, batch {batch}, {precision}")
            yield from _network(plan, name, batch, precision, work, conv.get(precision))


def _network(
    plan: Plan, name: str, batch: int, precision: str, work: Work, conv: float | None
) -> Iterator[Figure]:
    with plan.every_variant(name, batch, precision) as runs:
        calls: dict[str, Callable[[], Any]] = {
            variant: _several(plan, run) for variant, run in runs.items()
        }
        if name == "original":
            calls["hand-written"] = _several_by_hand(plan, HandStep(batch, plan.device, precision))
        peaks = {variant: _peak(plan, call) for variant, call in calls.items()}
        found = in_turn(calls, plan.rounds)
    title = title_of(name)
    for variant, seconds in found.items():
        each = [value / _count(plan) for value in seconds]
        figure = Figure(
            f"step.{title}.b{batch}.{precision}.{variant}",
            f"{title} b{batch} {precision}, {variant}",
            "s per step",
            each,
        )
        facts = {
            "network": title,
            "batch": batch,
            "precision": precision,
            "executor": variant,
            "steps_per_second": 1 / figure.median,
            "images_per_second": 2 * batch / figure.median,
            "gflops": work.flops(batch) / figure.median / 1e9,
            "peak_bytes": peaks[variant],
        }
        if conv is not None:
            facts["share_of_bound"] = work.flops(batch) / (conv * 1e9) / figure.median
        yield Figure(figure.key, figure.title, figure.unit, each, facts)


def _count(plan: Plan) -> int:
    return _UNREAD if plan.device.type == "cuda" else 1


def _several(plan: Plan, run: Any) -> Callable[[], None]:
    """Return a function that takes steps and reads their losses once, after the last."""

    def steps() -> None:
        for _ in range(_count(plan) - 1):
            run.steps.run()
        run.advance()
        synchronize(plan.device)

    return steps


def _several_by_hand(plan: Plan, step: HandStep) -> Callable[[], None]:
    def steps() -> None:
        for _ in range(_count(plan)):
            loss = step()
        float(loss)

    return steps


def _peak(plan: Plan, call: Callable[[], None]) -> int | None:
    """Return the peak of additional bytes that a step allocates on the GPU; None on a CPU."""
    if plan.device.type != "cuda":
        return None
    call()
    torch.cuda.reset_peak_memory_stats(plan.device)
    before = torch.cuda.memory_allocated(plan.device)
    call()
    return torch.cuda.max_memory_allocated(plan.device) - before
