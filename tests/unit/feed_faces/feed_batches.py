"""Feeds opened and drawn from, for tests."""

from __future__ import annotations

import numpy as np
import torch
from fs_feed_faces import open_feed
from fs_feed_faces.options import (
    AugmentationOptions,
    CacheOptions,
    FaceOptions,
    LoaderOptions,
)
from fs_kernel.options import Config
from fs_kernel.types import FeedSpec

PLAIN = AugmentationOptions(
    color=False, flip=False, warp=False, zoom_amount=0, rotation_range=0, shift_range=0
)

#: Faces are cut as they are needed.
NO_DISK = CacheOptions(cache=False)


class InOrder:
    """Faces in turn; remembers what was drawn."""

    def __init__(self, sizes, batch):
        self.sizes, self.batch, self.drawn = sizes, batch, []

    def draw(self, step):
        self.drawn.append(step)
        places = np.arange(self.batch) + (step - 1) * self.batch
        return {side: places % size for side, size in self.sizes.items()}


def make_config(
    workers=0, *, face=None, augmentation=None, cache=64, pre_fetch=2, disk=None
) -> Config:
    return Config(
        {
            "face": face or FaceOptions(),
            "augmentation": augmentation or AugmentationOptions(),
            "loader": LoaderOptions(workers=workers, pre_fetch=pre_fetch, cache=cache),
            "feed.faces": disk or CacheOptions(),
        }
    )


def batches(folders, spec: FeedSpec, config: Config, count=3, first=1) -> list:
    feed = open_feed(folders, spec, config)
    feed.start(InOrder(feed.sizes, spec.batch_size), first)
    try:
        return [feed.next() for _ in range(count)]
    finally:
        feed.close()


def flat(batch) -> list[torch.Tensor]:
    """Every tensor of a batch, in a fixed order."""
    found = [torch.from_numpy(batch.meta.indices[side]) for side in batch.inputs]
    for side in batch.inputs:
        found += [batch.inputs[side], *(t for t in batch.targets[side] if t is not None)]
        for by_size in batch.meta.masks[side].values():
            found += by_size.values()
    return [*found, *batch.meta.landmarks.values()]


def same(first, second) -> bool:
    one, other = flat(first), flat(second)
    return len(one) == len(other) and all(map(torch.equal, one, other))
