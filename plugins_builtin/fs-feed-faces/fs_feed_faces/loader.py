"""The feed: batches made a few steps ahead of the training."""

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

from fs_feed_faces.crops import Cropper
from fs_feed_faces.host import HostMaker
from fs_feed_faces.landmark_warp import find_matches
from fs_feed_faces.options import AugmentationOptions, FaceOptions, LoaderOptions
from fs_feed_faces.side import SideFeed


class Maker(Protocol):
    """Makes batches, somewhere."""

    def begin(self) -> None:
        """Get ready; comes before the first `submit`, and again after `close`."""

    def submit(self, step: int, drawn: Mapping[Side, np.ndarray]) -> Any:
        """Begin with a batch of these faces; see `fs_feed_faces.host.HostMaker.submit`."""

    def finish(self, job: Any) -> Batch:
        """The batch of what `submit` returned."""

    def close(self) -> None:
        """Stop what is being made. May be called twice."""


class FacesFeed:
    """Faces of all sides as batches; see `fs_kernel.types.Feed`.

    Every random number is keyed by seed, step, side and place in the global batch, so neither the
    number of workers nor their order changes a picture.

    Args:
        sides: how each side's faces become rows.
        spec: what the run needs.
        face: section ``[face]``.
        loader: section ``[loader]``.
        on_device: makes batches on the training's device; None if that is not wanted.
        warnings: lines the user should read, besides those on the faces.
    """

    def __init__(
        self,
        sides: Mapping[Side, SideFeed],
        spec: FeedSpec,
        face: FaceOptions,
        loader: LoaderOptions,
        on_device: Maker | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._sides = dict(sides)
        self._spec = spec
        self._face = face
        self.lag = loader.pre_fetch
        self._on_device = on_device
        self._maker: Maker = HostMaker(self._sides, spec, loader.num_processes, self.lag)
        self._on_host = self._maker
        self._jobs: deque[tuple[int, Any]] = deque()
        self._sampler: Sampler | None = None
        plans = {side: feed.plan for side, feed in self._sides.items()}
        self.sizes = {side: len(plan.faces.files) for side, plan in plans.items()}
        lines = [line for plan in plans.values() for line in plan.faces.warnings]
        self.warnings = (*lines, *warnings)
        self.fingerprint = "-".join(plan.faces.fingerprint for plan in plans.values())
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
        options = next(iter(self._sides.values())).options
        # A triangulation per face is nothing for a device.
        needs_host = options.warp and options.warp_to_landmarks
        self._maker = self._on_host if self._on_device is None or needs_host else self._on_device
        self._maker.begin()
        for ahead in range(self.lag):
            self._schedule(step + ahead)

    def next(self) -> Batch:
        """The next batch, on the CPU or on the training's device.

        Raises:
            UsageError: `start` was not called.
            FacesError: no face of a side can be read any more.
        """
        if not self._jobs:
            raise UsageError("the feed was not started; call start first")
        self._schedule(self._jobs[-1][0] + 1)
        _, job = self._jobs.popleft()
        batch = self._maker.finish(job)
        for feed in self._sides.values():
            for line in feed.take_warnings():
                warnings.warn(line, stacklevel=2)
        return batch

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
        self._maker.close()

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
        places = np.asarray(self._spec.slots)
        drawn = self._sampler.draw(step)
        mine = {side: np.asarray(drawn[side])[places] for side in self._sides}
        self._jobs.append((step, self._maker.submit(step, mine)))
