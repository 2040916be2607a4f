"""Measure saves: how long training pauses, and how long until the checkpoint is valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fs_bench.plan import Plan, title_of
from fs_bench.timing import Figure


def measure(plan: Plan, keep: Path) -> Iterator[Figure]:
    """Yield the pause and the duration of saves of the first network, with its optimizer's state.

    Args:
        plan: what to measure.
        keep: where to move the model folder afterwards.
    """
    name, _ = plan.networks[0]
    plan.tell(f"saves of {title_of(name)}")
    with plan.run(name, 1, "fp32", plan.variants[0], set={}) as run:
        run.advance()
        saves = []
        # The first save meets cold caches, as in a real training, so it counts like the others.
        for _ in range(3 if plan.quick else 2 * plan.rounds):
            run.advance()
            saves.append(run.save())
        parameters, folder = run.info.parameters, run.info.model_dir
    folder.rename(keep)
    facts = {"parameters": parameters, "bytes": saves[0].bytes}
    size = f"{parameters / 1e6:.0f} M weights"
    pauses = [1000 * saved.pause_seconds for saved in saves]
    yield Figure("save.pause", f"training stands still for a save, {size}", "ms", pauses, facts)
    totals = [saved.seconds for saved in saves]
    yield Figure("save.total", f"until a save counts, {size}", "s", totals, facts)
