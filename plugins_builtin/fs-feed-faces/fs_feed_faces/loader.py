"""The feed: batches prepared by a pool of threads, a few steps ahead of the training."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import attrs
import cv2
import numpy as np
import torch
from fs_kernel.config import Config
from fs_kernel.errors import UsageError
from fs_kernel.randomness import generator
from fs_kernel.types import Batch, BatchMeta, FeedSpec, PreviewFaces, Sampler, Side

from fs_feed_faces.crops import Cropper
from fs_feed_faces.landmark_warp import find_matches
from fs_feed_faces.options import AugmentationOptions, FaceOptions, LoaderOptions
from fs_feed_faces.side import SideArrays, SideFeed


@attrs.define(eq=False)
class _Job:
    """A batch in the making."""

    step: int
    arrays: dict[Side, SideArrays]
    parts: list[Future[None]]


class FacesFeed:
    """Faces of all sides as batches; see `fs_kernel.types.Feed`.

    Every random number is keyed by seed, step, side and place in the global batch, so neither the
    number of workers nor their order changes a picture. OpenCV works outside Python's lock, so
    threads are enough, and nothing is copied between processes.

    Args:
        sides: how each side's faces become rows.
        spec: what the run needs.
        face: section ``[face]``.
        loader: section ``[loader]``.
    """

    def __init__(
        self,
        sides: Mapping[Side, SideFeed],
        spec: FeedSpec,
        face: FaceOptions,
        loader: LoaderOptions,
    ) -> None:
        self._sides = dict(sides)
        self._spec = spec
        self._face = face
        self._workers = min(loader.num_processes, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None
        self._cv2_threads = 0
        self._jobs: deque[_Job] = deque()
        self._sampler: Sampler | None = None
        plans = {side: feed.plan for side, feed in self._sides.items()}
        self.sizes = {side: len(plan.faces.files) for side, plan in plans.items()}
        self.warnings = tuple(line for plan in plans.values() for line in plan.faces.warnings)
        self.fingerprint = "-".join(plan.faces.fingerprint for plan in plans.values())
        self.lag = loader.pre_fetch
        self.facts = {
            side: {"yaw": np.array([file.yaw for file in plan.faces.files])}
            for side, plan in plans.items()
        }
        for feed in self._sides.values():
            self._match(feed.options)

    def start(self, sampler: Sampler, step: int) -> None:
        """Begin to prepare batches; the first `next` gives the batch of ``step``.

        May be called again: what was prepared is dropped.
        """
        self.close()
        self._sampler = sampler
        if self._workers:
            # Parallel inside of parallel only slows down.
            self._cv2_threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="faces")
        for ahead in range(self.lag):
            self._schedule(step + ahead)

    def next(self) -> Batch:
        """The next batch, on the CPU.

        Raises:
            UsageError: `start` was not called.
            FacesError: no face of a side can be read any more.
        """
        if not self._jobs:
            raise UsageError("the feed was not started; call start first")
        self._schedule(self._jobs[-1].step + 1)
        job = self._jobs.popleft()
        if self._pool is None:
            for side, arrays in job.arrays.items():
                self._fill(job.step, side, arrays, range(len(arrays.indices)))
        for part in job.parts:
            part.result()
        for feed in self._sides.values():
            for line in feed.take_warnings():
                warnings.warn(line, stacklevel=2)
        return self._batch(job)

    def preview(self, count: int) -> PreviewFaces:
        """``count`` faces per side, evenly spread over the folder by name, the same every time.

        The surroundings are the full crop of the centring at the scale of the largest face output.
        """
        inputs, faces, boxes, masks = {}, {}, {}, {}
        for side, feed in self._sides.items():
            views, around, box = self._look(feed, count)
            inputs[side] = torch.from_numpy(views.astype(np.float32) / 255)
            faces[side] = np.ascontiguousarray(around[..., :3])
            masks[side] = around[..., 3].copy() if around.shape[-1] > 3 else None
            boxes[side] = np.tile(box, (len(views), 1))
        return PreviewFaces(inputs, faces, boxes, masks)

    def close(self) -> None:
        """Stop the workers and forget what they prepared. May be called twice."""
        self._jobs.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            cv2.setNumThreads(self._cv2_threads)

    def change_options(self, config: Config) -> None:
        """Take over section ``[augmentation]``; `start` must follow.

        Raises:
            FacesError: faces lack the landmarks that are needed now; nothing is changed.
        """
        options = config["augmentation"]
        self.close()
        self._match(options)
        for feed in self._sides.values():
            feed.options = options

    def _match(self, options: AugmentationOptions) -> None:
        """Find who looks alike, if that is asked for and not yet known."""
        known = all(feed.matches is not None for feed in self._sides.values())
        if known or not (options.warp and options.warp_to_landmarks):
            return
        points = {side: feed.landmarks() for side, feed in self._sides.items()}
        for side, matches in find_matches(points).items():
            self._sides[side].matches = matches

    def _look(self, feed: SideFeed, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The network's views, their surroundings with the face mask, and the views' box there."""
        plan, files = feed.plan, feed.plan.faces.files
        view = max(plan.face_sizes, default=plan.input_size)
        full = 2 * round(view / (self._face.coverage / 100) / 2)
        mask = [name for name in plan.masks if name == "face"]
        near = Cropper(self._face, plan.input_size, ())
        wide = Cropper(self._face, full, mask, coverage=100.0)

        def read(index: int) -> tuple[np.ndarray, np.ndarray]:
            return near.read(files[index]), wide.read(files[index])

        spread = np.rint(np.linspace(0, len(files) - 1, min(count, len(files)))).astype(int)
        pairs = [feed.find(int(index), read)[1] for index in spread]
        views = np.stack([inner for inner, _ in pairs])
        start = (full - view) // 2
        return (
            views[..., ::-1] if plan.rgb else views,
            np.stack([outer for _, outer in pairs]),
            np.array([start, start, start + view, start + view]),
        )

    def _schedule(self, step: int) -> None:
        assert self._sampler is not None
        drawn = self._sampler.draw(step)
        places = np.asarray(self._spec.slots)
        arrays = {
            side: SideArrays.make(feed.plan, np.asarray(drawn[side])[places])
            for side, feed in self._sides.items()
        }
        job = _Job(step, arrays, [])
        if self._pool is not None:
            for side, of_side in arrays.items():
                for rows in np.array_split(np.arange(len(places)), self._workers):
                    job.parts.append(
                        self._pool.submit(self._fill, step, side, of_side, rows.tolist())
                    )
        self._jobs.append(job)

    def _fill(self, step: int, side: Side, arrays: SideArrays, rows: list[int] | range) -> None:
        for row in rows:
            slot = self._spec.slots[row]
            random_for = partial(generator, self._spec.seed, step, side, slot)
            self._sides[side].fill(arrays, row, random_for)

    def _batch(self, job: _Job) -> Batch:
        inputs, targets, indices, masks = {}, {}, {}, {}
        for side, arrays in job.arrays.items():
            plan = self._sides[side].plan
            of_masks = {key: torch.from_numpy(array) for key, array in arrays.masks.items()}
            of_faces = {size: torch.from_numpy(array) for size, array in arrays.targets.items()}
            inputs[side] = torch.from_numpy(arrays.inputs)
            targets[side] = [
                of_faces[output.size]
                if output.kind == "face"
                else of_masks["face", output.size]
                if output.kind == "mask"
                else None
                for output in plan.outputs
            ]
            indices[side] = arrays.indices
            masks[side] = {
                name: {size: of_masks[name, size] for size in plan.face_sizes}
                for name in plan.wanted
            }
        return Batch(job.step, inputs, targets, BatchMeta(indices, masks))
