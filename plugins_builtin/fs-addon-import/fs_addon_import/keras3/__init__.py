"""Read ``.keras`` files: Keras 3.3 and newer, with an optimizer of Keras's or of torch's."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fs_kernel.errors import ModelFolderError

from fs_addon_import.foreign import ForeignNetwork, ForeignOptimizer
from fs_addon_import.keras3 import slots, torch_state
from fs_addon_import.keras3.archive import CONFIG, METADATA, OPTIMIZER, WEIGHTS, Archive
from fs_addon_import.keras3.graph import Rewriter
from fs_addon_import.keras3.weights import locate, opened, read
from fs_addon_import.rebuild import rebuild

#: Files up to this version have dots in the names of layers.
_WITH_DOTS = (3, 3)
#: Bytes that HDF5 and torch need beside the numbers, per weight and in total.
_PER_WEIGHT, _ROOM = 2**14, 2**24


def read_keras3(
    path: Path, room: Path, chosen: str | None = None
) -> tuple[ForeignNetwork, ForeignOptimizer | None]:
    """Return a network, and the optimizer that trained it or None if the file has none.

    Args:
        path: the ``.keras`` file; it is only read.
        room: an existing folder for unpacked files.
        chosen: the optimizer that the options name, used where the file is ambiguous.

    Raises:
        ModelFolderError: the file is damaged, hostile, or holds something unknown.
        OSError: ``room`` cannot be written.
    """
    with Archive(path) as archive, tempfile.TemporaryDirectory(dir=room) as folder:
        config = archive.json(CONFIG)
        rewriter = Rewriter(dots=_version(archive) <= _WITH_DOTS)
        rewritten = _rewrite(rewriter, config, path)
        weights = locate(rebuild(rewritten, str(path)), rewriter.places)
        numbers = sum(weight.bytes for weight in weights)
        beside = _ROOM + _PER_WEIGHT * len(weights)
        # Weights, two copies of three moments, averages and gathered gradients.
        file = archive.unpack(WEIGHTS, Path(folder, WEIGHTS), 9 * numbers + 8 * beside)
        if numbers > file.stat().st_size:
            raise ModelFolderError(f"{path}: {WEIGHTS} is shorter than its graph needs")
        notes = []
        if rewriter.arithmetic:
            notes.append(f"{rewriter.arithmetic} operations on tensors became layers")
        with opened(file, f"{path}: {WEIGHTS}") as stored:
            found = read(stored, weights)
            optimizer = _optimizer(
                lambda: slots.read_optimizer(config.get("compile_config"), stored, weights), notes
            )
        file.unlink()
        if OPTIMIZER in archive:
            file = archive.unpack(OPTIMIZER, Path(folder, OPTIMIZER), 3 * numbers + beside)
            label = f"{path}: {OPTIMIZER}"
            optimizer = _optimizer(
                lambda: torch_state.read_optimizer(file, weights, chosen, label), notes
            )
    return ForeignNetwork(rewritten, found, tuple(notes)), optimizer


def _optimizer(
    reader: Callable[[], ForeignOptimizer | None], notes: list[str]
) -> ForeignOptimizer | None:
    try:
        return reader()
    except slots.UnusableError as reason:
        notes.append(f"the optimiser starts afresh: {reason}")
        return None


def _version(archive: Archive) -> tuple[int, int]:
    """Return the major and minor version of the Keras that wrote the file.

    Raises:
        ModelFolderError: the file does not say, or it was another major version.
    """
    found = archive.json(METADATA) if METADATA in archive else None
    text = found.get("keras_version") if isinstance(found, dict) else None
    match = re.match(r"(3)\.(\d+)(\.|$)", text) if isinstance(text, str) else None
    if match is None:
        raise ModelFolderError(
            f"{archive.path} is not a file of Keras 3 (it says {str(text)[:40]!r})"
        )
    return int(match[1]), int(match[2])


def _rewrite(rewriter: Rewriter, config: Any, path: Path) -> dict[str, Any]:
    try:
        return rewriter.root(config)
    except ModelFolderError as error:
        raise ModelFolderError(f"{path}: its graph {error}") from None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ModelFolderError(f"{path}: its graph is damaged ({error})") from None
    except RecursionError:
        raise ModelFolderError(f"{path}: its graph is nested too deeply; refused") from None
