"""Build networks by name without faces, and a feed that repeats one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from fs_kernel import hookimpl, networks
from fs_kernel.options import resolve
from fs_kernel.plugins import load_role
from fs_kernel.testing import ArrayFeed
from fs_kernel.types import Batch, Feed, FeedSpec, Network, Sampler

from fs_bench.counting import Work, count


def built_empty(name: str) -> Network:
    """Return a network at its defaults on the meta device: no memory, no weights.

    Raises:
        FsError: there is no such model plugin, or it cannot be built.
    """
    model = load_role("models", name)
    config, _ = resolve(model.config_defaults(), [])
    model.store.replace(config)
    with networks.building(0, "meta"):
        return networks.build(model)


def work_of(name: str) -> Work:
    """Return the work of a network at its defaults."""
    return count(built_empty(name))


class StillFeed(ArrayFeed):
    """A feed that gives one batch at every step, so that only the training is measured."""

    name = "still"

    @hookimpl
    def open_feed(self, folders: Mapping[str, Path], spec: FeedSpec) -> StillFaces:
        return StillFaces(super().open_feed(folders, spec), spec.device)


class StillFaces:
    """The open feed of `StillFeed`.

    Args:
        feed: gives the first batch.
        device: where batches lie.
    """

    def __init__(self, feed: Feed, device: str) -> None:
        self._feed, self._device = feed, device
        self._batch: Batch | None = None
        self._step = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)

    def start(self, sampler: Sampler, step: int) -> None:
        """Give the batch of ``step`` next."""
        self._feed.start(sampler, step)
        self._step = step

    def next(self) -> Batch:
        """Return the first batch again, with the number of the step."""
        if self._batch is None:
            self._batch = self._noisy(self._feed.next())
        self._step += 1
        return attrs.evolve(self._batch, step=self._step - 1)

    def _noisy(self, batch: Batch) -> Batch:
        """Return noise in the shapes of a batch, on the device."""
        draw = torch.Generator().manual_seed(0)

        def moved(node: Any) -> Any:
            return node.to(self._device)

        def noise(node: Any) -> Any:
            return moved(torch.rand(node.shape, generator=draw))

        masks, landmarks = _each(batch.meta.masks, moved), _each(batch.meta.landmarks, moved)
        return attrs.evolve(
            batch,
            inputs=_each(batch.inputs, noise),
            targets=_each(batch.targets, noise),
            meta=attrs.evolve(batch.meta, masks=masks, landmarks=landmarks),
        )


def _each(node: Any, change: Callable[[Any], Any]) -> Any:
    """Return a tree of dicts and lists with every tensor changed."""
    if isinstance(node, Mapping):
        return {key: _each(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_each(value, change) for value in node]
    return None if node is None else change(node)
