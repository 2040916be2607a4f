"""Feeds with one fault each, run by ``test_suites_find_faults.py`` and not by themselves."""

from __future__ import annotations

import attrs
import numpy as np
from faults import suite, tidy  # noqa: F401
from fs_kernel import hookimpl
from fs_kernel.testing import ArrayFeed
from fs_kernel.testing.plugins import ArrayFaces
from fs_kernel.testing.suites import FeedSuite


def feeding(**methods):
    """Return `ArrayFeed` whose open feed has other methods."""

    class Faces(ArrayFaces):
        pass

    for name, method in methods.items():
        setattr(Faces, name, method)

    class Feeding(ArrayFeed):
        @hookimpl
        def open_feed(self, folders, spec):
            return Faces(spec)

    return Feeding


def bytes_of(self, side, index, size):
    return ArrayFaces.picture(self, side, index, size) * 255


def streamed(self, side, index, size):
    return np.random.rand(size, size, 3).astype(np.float32)


def color_blind(self, side, index, size):
    return ArrayFaces.picture(self, side, index, size)[..., :: (-1) ** size]


def always_bgr(self, side, index, size):
    picture = ArrayFaces.picture(self, side, index, size)
    return picture if self._spec.color_order == "bgr" else picture[..., ::-1]


def eager(self, sampler, step):
    ArrayFaces.start(self, sampler, step)
    sampler.draw(step + 10)


def whole_batch(self):
    spec, self._spec = self._spec, attrs.evolve(self._spec, local_indices=range(4))
    try:
        return ArrayFaces.next(self)
    finally:
        self._spec = spec


def without_landmarks(self, indices):
    return {}


def restless(self, count):
    self._step += 1
    return ArrayFaces.preview(self, count)


suite(FeedSuite, "test_batches_hold_what_was_asked_for", feeding(picture=bytes_of))
suite(FeedSuite, "test_a_batch_follows_from_seed_and_step", feeding(picture=streamed))
suite(FeedSuite, "test_preparing_draws_from_no_global_generator", feeding(picture=streamed))
suite(FeedSuite, "test_the_color_order_is_the_networks", feeding(picture=always_bgr))
suite(FeedSuite, "test_it_draws_no_further_ahead_than_it_says", feeding(start=eager))
suite(FeedSuite, "test_processes_share_a_batch", feeding(next=whole_batch))
suite(FeedSuite, "test_a_preview_is_always_the_same", feeding(preview=restless))
suite(FeedSuite, "test_folders_without_faces_are_refused", feeding())
suite(
    FeedSuite,
    "test_batches_hold_what_was_asked_for",
    feeding(_landmarks=without_landmarks),
    landmarks=True,
)
