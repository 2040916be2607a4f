"""Batches made on the processor, by a pool of threads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import attrs
import cv2
import numpy as np
import torch
from fs_kernel.randomness import generator
from fs_kernel.types import Batch, FeedSpec, Side

from fs_feed_faces.buffers import Buffers
from fs_feed_faces.plan import SideBatch, batch_of
from fs_feed_faces.side import SideArrays, SideFeed
from fs_feed_faces.variation import Variation, draw


@attrs.define(eq=False)
class _Job:
    """A batch in the making."""

    step: int
    arrays: dict[Side, SideArrays]
    varied: dict[Side, Variation]
    parts: list[Future[None]] = attrs.field(factory=list)


class HostMaker:
    """Makes batches in threads: OpenCV works outside Python's lock, and nothing is copied.

    Args:
        sides: how each side's faces become rows.
        spec: what the run needs.
        workers: threads; 0 makes batches in the thread that asks for them.
        ahead: batches in the making at once.
    """

    def __init__(
        self, sides: Mapping[Side, SideFeed], spec: FeedSpec, workers: int, ahead: int
    ) -> None:
        self._sides, self._spec = sides, spec
        self._workers = min(workers, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._cv2_threads = 0
        arrays = sum(1 + len(f.plan.face_sizes) + len(f.plan.mask_sizes) for f in sides.values())
        # Those ahead, the one that is given out, and the one before it. A copy to Apple's GPU may
        # read its source later than nobody holds it.
        used_again = not spec.device.startswith("mps")
        self._buffers = Buffers((ahead + 2) * arrays if used_again else 0)

    def begin(self) -> None:
        """Start the threads."""
        if self._workers:
            # Parallel inside of parallel only slows down.
            self._cv2_threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="faces")

    def submit(self, step: int, drawn: Mapping[Side, np.ndarray]) -> _Job:
        """Begin with a batch.

        Args:
            step: the step it is for.
            drawn: per side which faces, ``(n,)``.
        """
        slots = self._spec.slots
        job = _Job(
            step,
            {s: SideArrays.make(f.plan, drawn[s], self._buffers) for s, f in self._sides.items()},
            {
                side: Variation.make(
                    draw(self._spec.seed, step, side, slots), feed.options, feed.plan.working_size
                )
                for side, feed in self._sides.items()
            },
        )
        if self._pool is not None:
            for side in self._sides:
                for rows in np.array_split(np.arange(len(slots)), self._workers):
                    job.parts.append(self._pool.submit(self._fill, job, side, rows.tolist()))
        return job

    def finish(self, job: _Job) -> Batch:
        """Wait for a batch.

        Raises:
            FacesError: no face of a side can be read any more.
        """
        if self._pool is None:
            for side in self._sides:
                self._fill(job, side, range(len(self._spec.slots)))
        for part in job.parts:
            part.result()
        made = {side: _tensors(arrays) for side, arrays in job.arrays.items()}
        return batch_of(job.step, {s: f.plan for s, f in self._sides.items()}, made)

    def close(self) -> None:
        """Stop the threads. May be called twice."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            cv2.setNumThreads(self._cv2_threads)

    def _fill(self, job: _Job, side: Side, rows: Iterable[int]) -> None:
        for row in rows:
            slot = self._spec.slots[row]
            random_for = partial(generator, self._spec.seed, job.step, side, slot)
            self._sides[side].fill(job.arrays[side], row, job.varied[side], random_for)


def _tensors(arrays: SideArrays) -> SideBatch:
    return SideBatch(
        arrays.indices,
        torch.from_numpy(arrays.inputs),
        {size: torch.from_numpy(array) for size, array in arrays.targets.items()},
        {key: torch.from_numpy(array) for key, array in arrays.masks.items()},
    )
