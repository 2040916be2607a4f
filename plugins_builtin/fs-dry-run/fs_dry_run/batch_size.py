"""Search for a batch size: ``fs run -b auto``."""

from __future__ import annotations

from collections.abc import Callable

from fs_kernel import backend, memory
from fs_kernel.errors import FsError, TrainingError, UsageError
from fs_kernel.options import TrainingOptions, options_of
from fs_kernel.training import Request, TrainingRun

from fs_dry_run.trial import trial_run

#: A batch twice as large must give this many times the images a second to be worth its memory.
_GAIN = 1.05
#: The largest share of the memory that may be in use.
_ROOM = 0.85
_STEP_SECONDS = 30.0


def find_batch_size(request: Request) -> tuple[int, str] | None:
    """Find the batch size for a new model.

    Args:
        request: of the run, without a batch size. The model folder is only read.

    Returns:
        Faces per side per step, with a line for the user; None if the folder holds a model, which
        has a batch size.

    Raises:
        FsError: what the run itself would raise; UsageError if it has several processes.
    """
    with trial_run(request) as run:
        if run.session.resolved.state is not None:
            return None
        if run.group.size > 1:
            raise UsageError(
                "-b auto tries one device: find out with --dry-run -b auto in one process, then "
                "give -b that size times the number of processes"
            )
        size, speed = search(run, run.steps.time_step)
    return size, f"batch size {size} per side, {speed:.3g} images a second when it was tried"


def search(run: TrainingRun, time_step: Callable[[int], float]) -> tuple[int, float]:
    """Find the batch size, a power of two, beyond which memory or a gain in speed runs out.

    Doubles the batch while it fits in memory, a step stays under half a minute, and images per
    second still rise by a twentieth.

    Args:
        run: from `trial_run`; its weights change.
        time_step: returns the seconds of a step with N faces per side.

    Returns:
        Faces per side per step, and images per second at that size.

    Raises:
        TrainingError: not even one face per side fits.
    """
    largest = int(options_of(TrainingOptions)["batch_size"][1].maximum or 1)
    best, speed, size = 0, 0.0, 1
    while size <= largest:
        try:
            seconds = time_step(size)
        except (FsError, RuntimeError, MemoryError) as error:
            # The loop wraps what torch raised; only a lack of memory ends the search.
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
