"""Networks by name, without faces: for counting, and the feed that steps are measured with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from fs_kernel import hookimpl, networks
from fs_kernel.testing import ArrayFeed
from fs_kernel.testing.plugins import ArrayFaces
from fs_kernel.training.resolve import Request, resolve_run
from fs_kernel.types import Batch, FeedSpec, Network

from fs_bench.counting import Work, count


def built_empty(name: str) -> Network:
    """A network at its defaults on the meta device: no memory, no weights.

    Raises:
        FsError: there is no such model plugin, or it cannot be built.
    """
    parts = resolve_run(Request(Path(), name), ("models",), look=False)
    with networks.building(0, "meta"):
        return networks.build(parts.plugins)


def work_of(name: str) -> Work:
    """The work of a network at its defaults."""
    return count(built_empty(name))


class StillFeed(ArrayFeed):
    """The same batch for every step, made once: what is left of a step is the training."""

    name = "still"

    @hookimpl
    def open_feed(self, spec: FeedSpec) -> StillFaces:
        return StillFaces(spec)


class StillFaces(ArrayFaces):
    """The open feed of `StillFeed`."""

    _batch: Batch | None = None

    def next(self) -> Batch:
        """The first batch again, with the number of the step."""
        if self._batch is None:
            batch, device = super().next(), self._spec.device
            self._batch = attrs.evolve(
                batch,
                inputs=_moved(batch.inputs, device),
                targets=_moved(batch.targets, device),
                meta=attrs.evolve(batch.meta, masks=_moved(batch.meta.masks, device)),
            )
            return self._batch
        self._step += 1
        return attrs.evolve(self._batch, step=self._step - 1)

    def picture(self, side: str, index: int, size: int) -> np.ndarray:
        """Noise: as fast to make as it is to train on."""
        drawn: Any = np.random.default_rng(index).random((size, size, 3), np.float32)
        return drawn


def _moved(node: Any, device: str) -> Any:
    """Tensors in dicts and lists, on another device."""
    if isinstance(node, Mapping):
        return {key: _moved(value, device) for key, value in node.items()}
    if isinstance(node, list):
        return [_moved(value, device) for value in node]
    return None if node is None else node.to(device)
