"""Using a trained model: open it once, swap any number of folders in any direction."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fs_kernel import backend
from fs_kernel.errors import ModelFolderError, PluginError, UsageError
from fs_kernel.networks import SwapperCache, assign
from fs_kernel.plugins.other_formats import require_model
from fs_kernel.storage import files
from fs_kernel.training.network_of import make_network
from fs_kernel.training.resolve import Request, ResolvedRun, resolve_run
from fs_kernel.types import Face, Network, Side

if TYPE_CHECKING:
    from fs_kernel.plugins.roles import Plugins


def parse_direction(text: str) -> tuple[Side, Side]:
    """``"a2b"`` as ``("a", "b")``.

    Raises:
        UsageError: it is not two sides joined by a 2.
    """
    source, two, target = text.strip().lower().partition("2")
    if not (source and two and target):
        raise UsageError(f"'{text}' is no direction; write a2b or b2a")
    return source, target


class TrainedModel:
    """A trained model, opened for use. Its folder is only read.

    Args:
        model_dir: the model folder.
        values: changed options, ``{section: {option: value}}``.
        model: the model plugin, if it is not the installed one the folder names.
        objects: plugin objects by kind, as in `fs_kernel.training.resolve.Request`.
        average: use the running average of the weights that the trainer kept.

    Raises:
        FsError: of the kind that fits what is wrong.
    """

    def __init__(
        self,
        model_dir: str | Path,
        values: Mapping[str, Mapping[str, Any]] | None = None,
        model: Any = None,
        objects: Mapping[str, Any] | None = None,
        average: bool = False,
    ) -> None:
        chosen = {section: dict(options) for section, options in (values or {}).items()}
        folder = Path(model_dir)
        request = Request(folder, model, values=chosen, objects=dict(objects or {}))

        kinds = ("models", "feeds", "executors", *(("trainers",) if average else ()))

        def read() -> tuple[ResolvedRun, Any, Network]:
            parts = resolve_run(request, kinds)
            device = backend.device(parts.config["training"].device)
            built = make_network(parts, 0, device)
            if average:
                _assign_average(parts, built)
            return parts, device, built

        self._parts, self.device, self.network = require_model(folder).read_consistently(read)
        self.warnings = self._parts.warnings
        #: ``swapper(source, target)`` turns batches of faces of one side into another.
        self.swapper = SwapperCache(self._parts.plugins, self.network, self.device, "fp32")

    def swap_folder(
        self,
        faces: Path,
        output: Path,
        direction: str = "a2b",
        batch_size: int = 16,
        progress: Callable[[int], None] = lambda done: None,
    ) -> int:
        """Swap every face of a folder and write the results, beside the network's work.

        Args:
            faces: a folder of aligned faces.
            output: where results go; made if missing.
            direction: "a2b" or "b2a".
            batch_size: faces at once.
            progress: told how many are done.

        Returns:
            How many faces were written.

        Raises:
            FacesError: there is no face to swap.
            ModelFolderError: the output cannot be written.
        """
        source, target = parse_direction(direction)
        swapper = self.swapper(source, target)
        shape = tuple(self.network.model.inputs[self.network.sides.index(target)].shape[1:])
        found = self._parts.plugins.read_faces(faces, shape, self.network.color_order)
        order = self.network.color_order
        with _Writers(self._parts.plugins, order, output, progress) as writers:
            while batch := list(itertools.islice(found, batch_size)):
                writers.write(batch, *swapper(_stacked(batch)))
        return writers.done


def _stacked(batch: list[Face]) -> Any:
    return backend.torch().from_numpy(np.stack([face.image for face in batch]))


class _Writers:
    """Threads that write one batch of results while the next one is computed, and no more.

    Args:
        plugins: of the swap.
        order: the pictures' colour order.
        output: where results go; made before the first one.
        progress: told how many faces are written.
    """

    def __init__(
        self, plugins: Plugins, order: str, output: Path, progress: Callable[[int], None]
    ) -> None:
        self._write_face = partial(plugins.write_face, color_order=order, target=output)
        self._output, self._progress = output, progress
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
            files.require_writable(self._output)
        learnt = itertools.repeat(None) if masks is None else masks
        self._pending = [
            self._pool.submit(self._write_face, *face_of)
            for face_of in zip(batch, pictures, learnt, strict=False)
        ]

    def _settle(self) -> None:
        for future in self._pending:
            try:
                future.result()
            except PluginError as error:
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


def _assign_average(parts: ResolvedRun, built: Network) -> None:
    assert parts.generation is not None
    training = parts.checkpoints.read_training(parts.generation)
    found = None
    if (state := training.get("trainer")) is not None:
        found = parts.plugins.averaged_weights(state)
    if found is None:
        raise ModelFolderError(
            f"{parts.request.model_dir}: generation {parts.generation} holds no average of the "
            "weights; train with one (see: fs config show), or leave --average out"
        )
    held = parts.checkpoints.read_weights(parts.generation)
    assign(built, {**held, **found}, f"the average in generation {parts.generation}")


def collected_warnings(call: Callable[[], Any], tell: Callable[[str], None]) -> Any:
    """Run ``call`` and pass on what it warned about, one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        backend.hush()
        result = call()
    for item in caught:
        tell(str(item.message))
    return result
