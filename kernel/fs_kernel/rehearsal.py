"""A run that leaves nothing behind: ``fs run --dry-run``, and the search for a batch size."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from fs_kernel import backend, memory
from fs_kernel.errors import FsError, TrainingError, UsageError
from fs_kernel.options import options_of
from fs_kernel.options.defaults import TrainingOptions
from fs_kernel.plugins.roles import Plugins
from fs_kernel.training.loop import TrainingRun
from fs_kernel.training.resolve import Request, resolve_run
from fs_kernel.training.session import require_room

AUTO = "auto"
#: A batch twice as large must give this many more images a second to be worth its memory.
_GAIN = 1.05
#: Share of the memory that may be in use at most.
_ROOM = 0.85
_STEP_SECONDS = 30.0


@contextmanager
def rehearsing(request: Request) -> Iterator[TrainingRun]:
    """The run that was asked for, without add-ons, in a folder that goes afterwards.

    The model folder is only read; neither space on its disk is asked for nor its lock.
    """
    with tempfile.TemporaryDirectory(prefix="fs-rehearsal-") as scratch:
        parts = resolve_run(attrs.evolve(request, scratch=Path(scratch)))
        # Add-ons are not run, but theirs are options too.
        parts.plugins = Plugins(i for i in parts.plugins.chosen if i.kind != "addons")
        parts.replace_config(parts.config)
        run = TrainingRun(parts)
        try:
            yield run
        finally:
            run.close(save=False)


def rehearse(request: Request) -> dict[str, Any]:
    """Build everything, check everything, train one step in memory.

    Returns:
        ``process`` (its rank), ``run`` (the facts of the session), ``steps``,
        ``step_seconds``, ``memory_bytes``,
        ``memory_total``, ``disk_bytes``, ``disk_free``, ``warnings``, and ``options``: for each,
        its value and where it came from.

    Raises:
        FsError: whatever the run would end with.
    """
    with rehearsing(request) as run:
        config = run.config
        start = time.perf_counter()
        metrics = run.try_step()
        seconds = time.perf_counter() - start
        info, device = run.info, run.device
        free = require_room(run.session.parts, info.disk_bytes)
        return {
            "process": run.group.rank,
            "run": {**attrs.asdict(info), "model_dir": str(request.model_dir)},
            "steps": max(0, info.target_steps - info.start_step),
            "losses": dict(metrics.losses),
            "step_seconds": seconds,
            "memory_bytes": memory.peak(device),
            "memory_total": memory.total(device),
            "disk_bytes": info.disk_bytes,
            "disk_free": free,
            "warnings": [*run.warnings, *run.session.notes],
            "options": {
                f"{section}.{name}": {
                    "value": value,
                    "origin": config.origins.get(f"{section}.{name}", "default"),
                }
                for section, values in config.as_dict().items()
                for name, value in values.items()
            },
        }


def settle_batch_size(request: Request) -> str | None:
    """Put a number in place of ``batch_size = "auto"``: what the model has, or what is found.

    Returns:
        A line about what was found, if it was searched for.
    """
    training = request.values.get("training", {})
    if training.get("batch_size") != AUTO:
        return None
    del training["batch_size"]
    with rehearsing(request) as run:
        if run.session.parts.state is not None:
            return None
        if run.group.size > 1:
            raise UsageError(
                "-b auto tries one device: find out with --dry-run -b auto in one process, then "
                "give -b that size times the number of processes"
            )
        size, speed = find_batch_size(run)
    training["batch_size"] = size
    return f"batch size {size} per side, {speed:.3g} images a second when it was tried"


def find_batch_size(run: TrainingRun) -> tuple[int, float]:
    """The batch size, a power of two, beyond which speed or memory gives out.

    Doubles the batch while it fits in memory, a step stays under half a minute, and images per
    second still rise by a twentieth.

    Args:
        run: a rehearsal; its weights are not what they were afterwards.

    Returns:
        Faces per side per step, and images per second at that size.

    Raises:
        TrainingError: not even one face per side fits.
    """
    largest = int(options_of(TrainingOptions)["batch_size"][1].maximum or 1)
    best, speed, size = 0, 0.0, 1
    while size <= largest:
        try:
            seconds = run.time_step(size)
        except (FsError, RuntimeError, MemoryError) as error:
            cause = error.__cause__ or error
            if not backend.is_out_of_memory(cause):
                raise
            break
        images = size * len(run.network.sides) / seconds
        used, there = memory.peak(run.device), memory.total(run.device)
        fits = used is None or there is None or used < _ROOM * there
        if not fits or images < speed * _GAIN:
            break
        best, speed, size = size, images, size * 2
        if seconds > _STEP_SECONDS / 2:
            break
    if not best:
        raise TrainingError("not even one face per side fits into memory; choose another network")
    return best, speed
