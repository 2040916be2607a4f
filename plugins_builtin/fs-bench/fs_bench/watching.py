"""Measure the cost of the loop and its observers per step: hooks, console, events, previews."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from fs_kernel import hookimpl
from fs_kernel.testing import PlainTrainer, TinyModel
from fs_kernel.types import Batch, BatchLoss, Run, Sampler, Side, StepResult

from fs_bench.plan import Plan, Variant, available
from fs_bench.timing import Figure, in_turn

WATCHERS = ("console", "preview", "guard", "control", "tensorboard")
_STEPS = 100
#: Steps between saves by default, and faces of a preview.
_SAVE_STEPS, _FACES = 250, 14


class IdleTrainer:
    """A trainer whose steps do nothing, so that only the loop's share of a step is measured."""

    name = "idle"

    @hookimpl
    def get_sampler(self, sizes: Mapping[Side, int], batch_size: int, seed: int) -> Sampler:
        return PlainTrainer().get_sampler(sizes, batch_size, seed)

    @hookimpl
    def create_trainer(self, run: Run) -> IdleSteps:
        return IdleSteps(run.network.sides)


class IdleSteps:
    """The `fs_kernel.types.Trainer` of `IdleTrainer`."""

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = sides

    def train_step(self, batch: Batch) -> StepResult:
        """Return a loss of 1 for each side."""
        losses = [BatchLoss(side, torch.ones(())) for side in self._sides]
        return StepResult(losses, learning_rate=1.0)


def measure(plan: Plan, step_seconds: float | None) -> Iterator[Figure]:
    """Yield the milliseconds of a step that trains nothing, with observers and without.

    Args:
        plan: what to measure.
        step_seconds: duration of a real step, to compare with.
    """
    plan.tell("engine, hooks and watchers")
    addons = available("addons", WATCHERS, plan.skip)
    quiet = {"save.optimizer": "never", "preview.interval": "1000000it"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        calls = {}
        for name, names in (("engine", []), ("watched", addons)):
            more = {"trainer": IdleTrainer(), "addons": names}
            more["set"] = quiet if "preview" in names else {"save.optimizer": "never"}
            run = stack.enter_context(plan.run(TinyModel(), 1, "fp32", Variant("keras"), **more))
            calls[name] = partial(_advance, run, _STEPS)
        found = in_turn(calls, plan.rounds)
    titles = {"engine": "engine and hooks, per step", "watched": f"with {', '.join(addons)}"}
    for name, seconds in found.items():
        values = [1000 * value / _STEPS for value in seconds]
        facts = {}
        if step_seconds:
            median = sorted(values)[len(values) // 2]
            facts["percent_of_step"] = median / 10 / step_seconds
        yield Figure(f"watch.{name}", titles[name], "ms", values, facts)


def _advance(run: Any, steps: int) -> None:
    for _ in range(steps):
        run.advance()


def previews(plan: Plan, step_seconds: float | None) -> Iterator[Figure]:
    """Yield the seconds that training pauses for a preview of the first network."""
    plan.tell("previews")
    with plan.run(plan.networks[0][0], 1, "fp32", plan.variants[-1]) as run:
        run.advance()
        found = in_turn({"": partial(run._preview, _FACES)}, max(2, plan.rounds // 2))[""]
    seconds = sorted(found)[len(found) // 2]
    facts: dict[str, float] = {"percent_in_the_first_ten_minutes": 100 * seconds / 60}
    if step_seconds:
        afterwards = seconds / (_SAVE_STEPS * step_seconds + seconds)
        facts["percent_afterwards"] = 100 * afterwards
        facts["percent_of_a_day"] = 100 * (10 * seconds / 86400 + afterwards * 85800 / 86400)
    yield Figure("watch.preview", f"a preview of {_FACES} faces a side", "s", found, facts)
