"""Swap a folder of faces, reading, computing and writing at the same time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fs_kernel import backend
from fs_kernel.errors import ModelFolderError, PluginError, UsageError
from fs_kernel.storage import require_writable

from fs_swap.filters import Filters

if TYPE_CHECKING:
    import torch
    from fs_kernel import TrainedModel
    from fs_kernel.types import Face, Side


def parse_direction(text: str) -> tuple[Side, Side]:
    """Return ``("a", "b")`` for ``"a2b"``.

    Raises:
        UsageError: it is not two sides joined by a 2.
    """
    source, two, target = text.strip().lower().partition("2")
    if not (source and two and target):
        raise UsageError(f"'{text}' is not a direction; write a2b or b2a")
    return source, target


def swap_folder(
    trained: TrainedModel,
    faces: Path,
    output: Path,
    direction: str = "a2b",
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda done: None,
    filters: Filters | Iterable[Any] = (),
) -> int:
    """Swap every face of a folder and write the results while the network computes the next.

    Args:
        trained: the model.
        faces: a folder of aligned faces.
        output: where results go; made if missing.
        direction: "a2b" or "b2a".
        batch_size: faces at once.
        progress: called with the number of faces done.
        filters: plugins that change each swapped face before it is written: names, paths or
            objects, with their default options, or a `fs_swap.filters.Filters`.

    Returns:
        The number of faces written.

    Raises:
        FacesError: there is no face to swap.
        ModelFolderError: the output cannot be written.
        PluginError: the feed cannot read faces, or a plugin fails.
    """
    source, target = parse_direction(direction)
    swapper, network = trained.swapper(source, target), trained.network
    shape = tuple(network.model.inputs[network.sides.index(target)].shape[1:])
    found = trained.feed.read_faces(faces, shape, network.color_order)
    chosen = filters if isinstance(filters, Filters) else Filters(filters)
    with _Writers(trained, output, progress, chosen) as writers:
        while batch := list(itertools.islice(found, batch_size)):
            writers.write(batch, *swapper(_stacked(batch)))
    return writers.done


def _stacked(batch: list[Face]) -> torch.Tensor:
    stacked: torch.Tensor = backend.torch().from_numpy(np.stack([face.image for face in batch]))
    return stacked


class _Writers:
    """Threads that write one batch of results while the next one is computed, and no more.

    Args:
        trained: the model; its feed writes.
        output: where results go; made before the first one.
        progress: called with the number of faces written.
        filters: applied to each face before it is written.
    """

    def __init__(
        self,
        trained: TrainedModel,
        output: Path,
        progress: Callable[[int], None],
        filters: Filters,
    ) -> None:
        self._feed, self._order = trained.feed, trained.network.color_order
        self._output, self._progress, self._filters = output, progress, filters
        self._pool = ThreadPoolExecutor(os.cpu_count(), "fs-swap-writer")
        self._pending: list[Future[Path]] = []
        self.done = 0

    def write(self, batch: list[Face], pictures: np.ndarray, masks: np.ndarray | None) -> None:
        """Wait until the batch before is written, then begin to write this one.

        Raises:
            FsError: one of the batch before could not be written.
        """
        self._settle()
        if not self.done:
            require_writable(self._output)
        learned = itertools.repeat(None) if masks is None else masks
        self._pending = [
            self._pool.submit(self._write_face, *face_of)
            for face_of in zip(batch, pictures, learned, strict=False)
        ]

    def _write_face(self, face: Face, swapped: np.ndarray, mask: np.ndarray | None) -> Path:
        picture = self._filters(swapped, mask, face)
        return self._feed.write_face(face, picture, mask, self._order, self._output)

    def _settle(self) -> None:
        for future in self._pending:
            try:
                future.result()
            except PluginError as error:
                # A full disk is not a failure of the feed, though it was raised in its hook.
                if not isinstance(error.__cause__, OSError):
                    raise
                reason = f"cannot write in {self._output}: {error.__cause__.strerror}"
                raise ModelFolderError(reason) from error
        if self._pending:
            self.done += len(self._pending)
            self._progress(self.done)

    def __enter__(self) -> _Writers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._settle()
        finally:
            self._pool.shutdown(cancel_futures=True)
