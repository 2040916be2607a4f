"""Measure the feed: images per second, and how long the device waits for them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fs_kernel.errors import FsError
from fs_kernel.options import CommandLineSource, resolve
from fs_kernel.plugins import load_role
from fs_kernel.testing import PlainTrainer
from fs_kernel.types import FeedSpec, Output

from fs_bench.machine import synchronize
from fs_bench.plan import Plan, title_of
from fs_bench.timing import Figure, in_turn, rates

#: Edges of inputs and targets in pixels.
SIZES = ((64, 64), (128, 256))
_BATCH = 16
#: What the losses ask for at their defaults.
_MASKS = frozenset({"face", "eye", "mouth"})


def measure(plan: Plan, people: dict[str, Path]) -> Iterator[Figure]:
    """Yield images per second of the faces feed, both sides, by default and with one worker."""
    for (size, target), alone in itertools.product(SIZES, (False, True)):
        title = f"feed, {size} px in, {target} out" + (", one worker" if alone else "")
        plan.tell(title)
        try:
            feed = _open(people, size, target, {"workers": 1} if alone else {})
        except FsError as error:
            plan.skip(f"feed: {error}")
            return
        try:
            feed.start(PlainTrainer().get_sampler(feed.sizes, _BATCH, 1), 1)
            # The first batches were prepared in advance, or fill a cache.
            for _ in range(5 if plan.quick else 20):
                feed.next()
            take = partial(_take, feed, 10)
            found = in_turn({"": take}, plan.rounds)[""]
        finally:
            feed.close()
        values = rates(found, 10 * 2 * _BATCH)
        key = f"feed.{size}.{target}" + (".one" if alone else "")
        figure = Figure(key, title, "images/s", values)
        processors = 1 if alone else os.cpu_count() or 1
        facts = {"images_per_second_per_processor": figure.median / processors}
        yield Figure(figure.key, figure.title, figure.unit, values, facts)


def _take(feed: Any, count: int) -> None:
    for _ in range(count):
        feed.next()


def _open(people: dict[str, Path], size: int, target: int, loader: dict[str, Any]) -> Any:
    role = load_role("feeds", "faces")
    options = CommandLineSource("fs bench", {"loader": loader})
    config, _ = resolve(role.config_defaults(), [options])
    role.store.replace(config)
    return role.open(
        people,
        FeedSpec(
            input_shapes=dict.fromkeys(people, (size, size, 3)),
            color_order="bgr",
            outputs=tuple(Output(side, "face", target) for side in people),
            fields=_MASKS,
            batch_size=_BATCH,
            seed=1,
            local_indices=range(_BATCH),
        ),
    )


def waiting(plan: Plan, people: dict[str, Path]) -> Iterator[Figure]:
    """Yield the share of the time in which the device waits for faces.

    It is computed from the difference to steps that repeat one batch.
    """
    name, batch = plan.networks[0]
    precision, variant = plan.precisions[-1], plan.variants[-1]
    shown = title_of(name)
    title = f"waiting for the feed, {shown} b{batch} {precision}, {variant.name}"
    plan.tell(title)
    with (
        plan.run(name, batch, precision, variant) as still,
        plan.run(name, batch, precision, variant, feed="faces", **people) as fed,
    ):

        def steps(run: Any) -> Any:
            def call() -> None:
                for _ in range(20 if plan.device.type == "cuda" else 1):
                    run.steps.run()
                run.advance()
                synchronize(plan.device)

            return call

        found = in_turn({"still": steps(still), "fed": steps(fed)}, plan.rounds)
    shares = [max(0.0, 1 - a / b) for a, b in zip(found["still"], found["fed"], strict=True)]
    facts = {"network": shown, "batch": batch, "precision": precision, "executor": variant.name}
    yield Figure("feed.waiting", title, "% of the time", [100 * x for x in shares], facts)
