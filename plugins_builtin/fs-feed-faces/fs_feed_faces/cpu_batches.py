"""Make batches on the CPU, in a pool of threads."""

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

from fs_feed_faces.augmentation_params import AugmentationParams, draw_numbers
from fs_feed_faces.batch_layout import SideBatch, make_batch
from fs_feed_faces.buffers import Buffers
from fs_feed_faces.rows import RowMaker, SideArrays


@attrs.define(eq=False)
class _Job:
    """A batch in progress."""

    step: int
    arrays: dict[Side, SideArrays]
    params: dict[Side, AugmentationParams]
    parts: list[Future[None]] = attrs.field(factory=list)


class CpuBatchMaker:
    """Makes batches in threads, which share memory; OpenCV releases Python's lock.

    Args:
        sides: how each side's faces become rows.
        spec: what the run needs.
        workers: threads; 0 makes batches in the thread that asks for them.
        ahead: batches in progress at once.
    """

    def __init__(
        self, sides: Mapping[Side, RowMaker], spec: FeedSpec, workers: int, ahead: int
    ) -> None:
        self._sides, self._spec = sides, spec
        self._workers = min(workers, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._cv2_threads = 0
        layouts = [rows.layout for rows in sides.values()]
        arrays = sum(1 + len(lay.face_sizes) + len(lay.mask_sizes) for lay in layouts)
        # Those ahead, the one that was delivered, and the one before it. A copy to Apple's GPU may
        # still read its source when no reference to it is left.
        reusable = not spec.device.startswith("mps")
        self._buffers = Buffers((ahead + 2) * arrays if reusable else 0)

    def open(self) -> None:
        """Start the threads."""
        if self._workers:
            # OpenCV's own threads inside these threads would only slow both down.
            self._cv2_threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="faces")

    def submit(self, step: int, drawn: Mapping[Side, np.ndarray]) -> _Job:
        """Start a batch and return its job.

        Args:
            step: the step it is for.
            drawn: per side which faces, ``(n,)``.
        """
        indices = self._spec.local_indices
        job = _Job(
            step,
            {
                side: SideArrays.make(rows.layout, drawn[side], self._buffers)
                for side, rows in self._sides.items()
            },
            {
                side: AugmentationParams.make(
                    draw_numbers(self._spec.seed, step, side, indices),
                    rows.options,
                    rows.layout.working_size,
                )
                for side, rows in self._sides.items()
            },
        )
        if self._pool is not None:
            for side in self._sides:
                for rows in np.array_split(np.arange(len(indices)), self._workers):
                    job.parts.append(self._pool.submit(self._fill, job, side, rows.tolist()))
        return job

    def result(self, job: _Job) -> Batch:
        """Wait for a batch and return it.

        Raises:
            FacesError: none of a side's faces can be read any longer.
        """
        if self._pool is None:
            for side in self._sides:
                self._fill(job, side, range(len(self._spec.local_indices)))
        for part in job.parts:
            part.result()
        made = {
            side: _tensors(arrays, self._sides[side].target_landmarks(arrays.indices, params))
            for side, arrays, params in ((s, job.arrays[s], job.params[s]) for s in self._sides)
        }
        return make_batch(job.step, {s: r.layout for s, r in self._sides.items()}, made)

    def close(self) -> None:
        """Stop the threads. Safe to call more than once."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            cv2.setNumThreads(self._cv2_threads)

    def _fill(self, job: _Job, side: Side, rows: Iterable[int]) -> None:
        for row in rows:
            index = self._spec.local_indices[row]
            random_for = partial(generator, self._spec.seed, job.step, side, index)
            self._sides[side].fill(job.arrays[side], row, job.params[side], random_for)


def _tensors(arrays: SideArrays, landmarks: np.ndarray | None) -> SideBatch:
    return SideBatch(
        arrays.indices,
        torch.from_numpy(arrays.inputs),
        {size: torch.from_numpy(array) for size, array in arrays.targets.items()},
        {key: torch.from_numpy(array) for key, array in arrays.masks.items()},
        None if landmarks is None else torch.from_numpy(landmarks),
    )
