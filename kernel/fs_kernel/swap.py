"""Using a trained model: open it once, swap any number of folders in any direction."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fs_kernel import backend, store
from fs_kernel.assembly import Assembled, Request, assemble, make_network
from fs_kernel.errors import ModelFolderError, UsageError
from fs_kernel.foreign import require_model
from fs_kernel.inference import Swapper, Swappers
from fs_kernel.network import assign
from fs_kernel.types import Face, Network, Side


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
        objects: plugin objects by kind, as in `fs_kernel.assembly.Request`.
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

        def read() -> tuple[Assembled, Any, Network]:
            parts = assemble(request, kinds)
            device = backend.device(parts.config["training"].device)
            built = make_network(parts, 0, device)
            if average:
                _assign_average(parts, built)
            return parts, device, built

        self._parts, self.device, self.network = require_model(folder).steadily(read)
        self.warnings = self._parts.warnings
        #: ``swapper(source, target)`` turns batches of faces of one side into another.
        self.swapper = Swappers(self._parts.plugins, self.network, self.device, "fp32")

    def swap_folder(
        self,
        faces: Path,
        output: Path,
        direction: str = "a2b",
        batch_size: int = 16,
        progress: Callable[[int], None] = lambda done: None,
    ) -> int:
        """Swap every face of a folder and write the results.

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
        order, done = self.network.color_order, 0
        found = self._parts.plugins.read_faces(faces, shape, order)
        while batch := list(itertools.islice(found, batch_size)):
            if not done:
                store.require_writable(output)
            self._write(batch, swapper, order, output)
            done += len(batch)
            progress(done)
        return done

    def _write(self, batch: list[Face], swapper: Swapper, order: str, output: Path) -> None:
        torch = backend.torch()
        pictures, masks = swapper(torch.from_numpy(np.stack([face.image for face in batch])))
        for i, face in enumerate(batch):
            mask = None if masks is None else masks[i]
            try:
                self._parts.plugins.write_face(face, pictures[i], mask, order, output)
            except OSError as error:
                raise ModelFolderError(f"cannot write in {output}: {error.strerror}") from None


def _assign_average(parts: Assembled, built: Network) -> None:
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
