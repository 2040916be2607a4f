"""Implement ``fs export``: write a model folder as files that faceswap 3 opens."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
from fs_kernel import backend, networks
from fs_kernel.errors import ModelFolderError
from fs_kernel.options import read_toml
from fs_kernel.plugins import require_model
from fs_kernel.storage import read_json
from fs_kernel.training import Request, read_graph, resolve_run

from fs_addon_import.faceswap3.graph import config_of
from fs_addon_import.faceswap3.state import state_of
from fs_addon_import.folders import new_folder
from fs_addon_import.importing import RECORD
from fs_addon_import.keras3 import read_keras3
from fs_addon_import.keras3.archive import CONFIG, METADATA, WEIGHTS
from fs_addon_import.keras3.graph import Rewriter
from fs_addon_import.keras3.weights import Weight, locate
from fs_addon_import.options import FOUND_RATE

#: The Keras that faceswap pins; what is written here is the same in all versions from it on.
KERAS_VERSION = "3.14.1"
#: The models that faceswap has.
# fmt: off
MODELS = (
    "dfaker", "dfl_h128", "dfl_sae", "dlight", "iae", "lightweight", "original", "phaze_a",
    "realface", "unbalanced", "villain",
)
# fmt: on


@attrs.frozen
class Exported:
    """The result of `export_model`."""

    model: str
    files: tuple[str, ...]
    parameters: int
    iterations: int


def export_model(model_dir: Path, out: Path) -> Exported:
    """Write the newest valid checkpoint, without its optimizer, for faceswap 3.

    Args:
        model_dir: a model folder; only read.
        out: the folder to make; missing or empty.

    Raises:
        ModelFolderError: the model cannot be read, faceswap has no such network, or ``out`` cannot
            be written; nothing is left.
    """
    backend.keras()
    checkpoints = require_model(model_dir)
    parts = resolve_run(Request(model_dir), ("models",))
    state, checkpoint = parts.state, parts.checkpoint
    assert state is not None
    assert checkpoint is not None
    if state.model not in MODELS:
        raise ModelFolderError(f"faceswap has no model '{state.model}'")
    with networks.building(0, "meta"):
        built = read_graph(parts)
    networks.apply_precision(built, "fp32", "cpu")
    options = read_toml(checkpoints.config_path(checkpoint))
    tensors = checkpoints.read_weights(checkpoint)
    config = config_of(built)
    rewriter = Rewriter()
    rewriter.root(json.loads(json.dumps(config)))
    weights = locate(built, rewriter.places)
    arrays = {weight.name: tensors[weight.name].numpy() for weight in weights}
    record = _record(model_dir)
    found = _found_rate(checkpoints.read_training(checkpoint), options, record)
    written = state_of(state, options, built, record, found)
    name = state.model
    with new_folder(out, model_dir) as made:
        room = made.parent
        _write_weights(room / WEIGHTS, built.model.name, rewriter, weights, arrays)
        _pack(made / f"{name}.keras", config, room / WEIGHTS)
        (made / f"{name}_state.json").write_text(json.dumps(written, indent=2), encoding="utf-8")
        _read_back(made / f"{name}.keras", arrays, room)
    files = tuple(str(path) for path in sorted(out.iterdir()))
    return Exported(name, files, networks.count(built), state.iterations)


def _found_rate(training: Any, options: dict[str, Any], record: dict[str, Any]) -> Any:
    """Return the learning rate that was found for the model, or None.

    The add-on keeps it in its state; an imported model that was not trained since has it as an
    option.
    """
    section, _, option = FOUND_RATE.rpartition(".")
    of_addon = training.get("addons", {}).get(section.partition(".")[2], {})
    found = of_addon.get("found") or options.get(section, {}).get(option)
    return found or record.get("learning_rate_found")


def _record(model_dir: Path) -> dict[str, Any]:
    """Return what was kept of the model when it was imported; {} if it was not imported."""
    try:
        found = read_json(model_dir / RECORD)
    except (OSError, ModelFolderError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_weights(
    path: Path,
    root: str,
    rewriter: Rewriter,
    weights: list[Weight],
    arrays: dict[str, np.ndarray],
) -> None:
    with h5py.File(path, "w") as file:
        for place in (*rewriter.models, *rewriter.places):
            group = file.create_group(f"{place.stored}vars")
            group.attrs["name"] = place.path.rstrip("/").rsplit("/", 1)[-1] or root
        for weight in weights:
            file.create_dataset(weight.stored, data=arrays[weight.name])


def _pack(path: Path, config: dict[str, Any], weights: Path) -> None:
    saved = time.strftime("%Y-%m-%d@%H:%M:%S")
    with zipfile.ZipFile(path, "w") as archive:
        metadata = {"keras_version": KERAS_VERSION, "date_saved": saved}
        archive.writestr(METADATA, json.dumps(metadata))
        archive.writestr(CONFIG, json.dumps(config))
        archive.write(weights, WEIGHTS)


def _read_back(path: Path, arrays: dict[str, np.ndarray], folder: Path) -> None:
    """Read the written file back as an untrusted one, and compare every number.

    Raises:
        OSError: a number differs.
    """
    found, _ = read_keras3(path, folder)
    for name, array in arrays.items():
        if not np.array_equal(found.weights[name], array, equal_nan=True):
            raise OSError(f"{name} was read back otherwise than it was written")
