"""Deliver batches that are made a few steps ahead of the training."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from fs_kernel.errors import UsageError
from fs_kernel.options import Config
from fs_kernel.types import Batch, FeedSpec, PreviewFaces, Sampler, Side

from fs_feed_faces.cpu_batches import CpuBatchMaker
from fs_feed_faces.crops import Cropper
from fs_feed_faces.landmark_warp import find_matches
from fs_feed_faces.options import AugmentationOptions, FaceOptions, LoaderOptions
from fs_feed_faces.rows import RowMaker


class BatchMaker(Protocol):
    """Makes batches, on the CPU or on the training's device."""

    def open(self) -> None:
        """Acquire what is needed; called before the first `submit`, and again after `close`."""

    def submit(self, step: int, drawn: Mapping[Side, np.ndarray]) -> Any:
        """Start a batch of these faces; see `fs_feed_faces.cpu_batches.CpuBatchMaker.submit`."""

    def result(self, job: Any) -> Batch:
        """Return the finished batch of a job from `submit`."""

    def close(self) -> None:
        """Stop the work in progress. Safe to call more than once."""


class FacesFeed:
    """Delivers the faces of all sides as batches; see `fs_kernel.types.Feed`.

    Every random number is keyed by seed, step, side and place in the global batch, so neither the
    number of workers nor their order changes a picture.

    Args:
        sides: how each side's faces become rows.
        spec: what the run needs.
        face: section ``[face]``.
        loader: section ``[loader]``.
        gpu_batches: makes batches on the training's device; None if the CPU makes them.
        warnings: lines the user should read, besides those on the faces.
    """

    def __init__(
        self,
        sides: Mapping[Side, RowMaker],
        spec: FeedSpec,
        face: FaceOptions,
        loader: LoaderOptions,
        gpu_batches: BatchMaker | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._sides = dict(sides)
        self._spec = spec
        self._face = face
        self.prefetch = loader.pre_fetch
        self._gpu_batches = gpu_batches
        self._cpu_batches = CpuBatchMaker(self._sides, spec, loader.workers, self.prefetch)
        self._maker: BatchMaker = self._cpu_batches
        self._jobs: deque[tuple[int, Any]] = deque()
        self._sampler: Sampler | None = None
        layouts = {side: rows.layout for side, rows in self._sides.items()}
        self.sizes = {side: len(layout.faces.files) for side, layout in layouts.items()}
        lines = [line for layout in layouts.values() for line in layout.faces.warnings]
        self.warnings = (*lines, *warnings)
        self.fingerprint = "-".join(layout.faces.fingerprint for layout in layouts.values())
        self.face_attributes = {
            side: {"yaw": np.array([file.yaw for file in layout.faces.files])}
            for side, layout in layouts.items()
        }
        for rows in self._sides.values():
            self._match(rows.options)

    def start(self, sampler: Sampler, step: int) -> None:
        """Start preparing batches; the first `next` returns the batch of ``step``.

        A second call drops the batches that were prepared.
        """
        self.close()
        self._sampler = sampler
        options = next(iter(self._sides.values())).options
        # The warp to landmarks triangulates each face, which only OpenCV does.
        needs_cpu = options.warp and options.warp_to_landmarks
        gpu = None if needs_cpu else self._gpu_batches
        self._maker = self._cpu_batches if gpu is None else gpu
        self._maker.open()
        for ahead in range(self.prefetch):
            self._schedule(step + ahead)

    def next(self) -> Batch:
        """Return the next batch, on the CPU or on the training's device.

        Raises:
            UsageError: `start` was not called.
            FacesError: none of a side's faces can be read any longer.
        """
        if not self._jobs:
            raise UsageError("the feed was not started; call start first")
        self._schedule(self._jobs[-1][0] + 1)
        _, job = self._jobs.popleft()
        batch = self._maker.result(job)
        for rows in self._sides.values():
            for line in rows.take_warnings():
                warnings.warn(line, stacklevel=2)
        return batch

    def preview(self, count: int) -> PreviewFaces:
        """Return ``count`` faces per side, evenly spread over the folder by name, always the same.

        The surroundings are the full crop of the centering at the scale of the largest face output.
        """
        inputs, faces, boxes, masks = {}, {}, {}, {}
        for side, rows in self._sides.items():
            views, around, box = self._views(rows, count)
            inputs[side] = torch.from_numpy(views.astype(np.float32) / 255)
            faces[side] = np.ascontiguousarray(around[..., :3])
            masks[side] = around[..., 3].copy() if around.shape[-1] > 3 else None
            boxes[side] = np.tile(box, (len(views), 1))
        return PreviewFaces(inputs, faces, boxes, masks)

    def close(self) -> None:
        """Stop the workers and drop what they prepared. Safe to call more than once."""
        self._jobs.clear()
        self._maker.close()

    def on_options_changed(self, config: Config) -> None:
        """Apply section ``[augmentation]``; `start` must follow.

        Raises:
            FacesError: faces lack the landmarks that the options need; nothing is changed.
        """
        options = config["augmentation"]
        self.close()
        self._match(options)
        for rows in self._sides.values():
            rows.options = options

    def _match(self, options: AugmentationOptions) -> None:
        """Find similar faces, if the options need them and they are not yet known."""
        known = all(rows.matches is not None for rows in self._sides.values())
        if known or not (options.warp and options.warp_to_landmarks):
            return
        points = {side: rows.landmarks() for side, rows in self._sides.items()}
        for side, matches in find_matches(points).items():
            self._sides[side].matches = matches

    def _views(self, rows: RowMaker, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the network's views, their surroundings with the face mask, and the views' box."""
        layout, files = rows.layout, rows.layout.faces.files
        view = max(layout.face_sizes, default=layout.input_size)
        full = 2 * round(view / (self._face.coverage / 100) / 2)
        mask = [name for name in layout.masks if name == "face"]
        near = Cropper(self._face, layout.input_size, ())
        wide = Cropper(self._face, full, mask, coverage=100.0)

        def read(index: int) -> tuple[np.ndarray, np.ndarray]:
            return near.read(files[index]), wide.read(files[index])

        spread = np.rint(np.linspace(0, len(files) - 1, min(count, len(files)))).astype(int)
        pairs = [rows.find(int(index), read)[1] for index in spread]
        views = np.stack([inner for inner, _ in pairs])
        start = (full - view) // 2
        return (
            views[..., ::-1] if layout.rgb else views,
            np.stack([outer for _, outer in pairs]),
            np.array([start, start, start + view, start + view]),
        )

    def _schedule(self, step: int) -> None:
        assert self._sampler is not None
        here = np.asarray(self._spec.local_indices)
        drawn = self._sampler.draw(step)
        mine = {side: np.asarray(drawn[side])[here] for side in self._sides}
        self._jobs.append((step, self._maker.submit(step, mine)))
