"""Implement ``fs import``: make a model folder of another program's model, or change nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from fs_kernel import backend, networks
from fs_kernel.errors import ConfigError, ModelFolderError
from fs_kernel.options import KERNEL_SECTIONS, ModelFolderSource, TrainingOptions, resolve
from fs_kernel.plugins import discovery
from fs_kernel.storage import sha256, to_json_bytes, write_atomic
from fs_kernel.training import Request, ResolvedRun, make_network, resolve_run
from fs_kernel.types import Network

from fs_addon_import import options
from fs_addon_import.files import ModelFile, find
from fs_addon_import.folders import new_folder
from fs_addon_import.foreign import ForeignNetwork, ForeignOptimizer
from fs_addon_import.import_checkpoint import import_checkpoint
from fs_addon_import.rebuild import rebuild
from fs_addon_import.state import ForeignState, interpret, read_json
from fs_addon_import.training_tree import training_tree

#: The file beside the checkpoints with the model's origin and its options as they were.
RECORD = "imported.json"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen
class Imported:
    """The result of `import_model`; ``notes`` are for the user."""

    source: str
    folder: str
    model: str
    parameters: int
    iterations: int
    sessions: int
    optimizer: str | None
    optimizer_step: int | None
    precision: str
    generation: str
    notes: tuple[str, ...]


def import_model(old: Path, new_dir: Path) -> Imported:
    """Import a model into a new model folder.

    Args:
        old: a model file, or the folder that holds it; only read.
        new_dir: the folder to make; missing or empty.

    Raises:
        ModelFolderError: ``old`` cannot be read or ``new_dir`` cannot be written; nothing is left.
        PluginError: the model's plugin is not installed.
    """
    file = find(old)
    backend.keras()  # Keras chooses its backend when it is first imported.
    state_file = read_json(file.state_path)
    state = interpret(state_file, file.path.stem)
    if not _NAME.fullmatch(state.name):
        raise ModelFolderError(f"{file.state_path} names no model ({state.name[:60]!r})")
    with new_folder(new_dir, file.path.parent) as folder:
        foreign, optimizer = _read(file, state_file, state, folder.parent)
        made = _write(file, state, foreign, optimizer, folder)
        _verify(folder)
    return attrs.evolve(made, folder=str(new_dir))


def _read(
    file: ModelFile, data: Mapping[str, Any] | None, state: ForeignState, room: Path
) -> tuple[ForeignNetwork, ForeignOptimizer | None]:
    if file.is_keras_2:
        from fs_addon_import.keras2 import read_keras2

        return read_keras2(file.path, data)
    from fs_addon_import.keras3 import read_keras3

    return read_keras3(file.path, room, state.config.get("optimizer"))


def _write(
    file: ModelFile,
    state: ForeignState,
    foreign: ForeignNetwork,
    optimizer: ForeignOptimizer | None,
    folder: Path,
) -> Imported:
    torch = backend.torch()
    notes = [*state.notes, *foreign.notes]
    parts = resolve_run(_request(folder, state), look=False)
    notes += parts.warnings
    classes = {**KERNEL_SECTIONS, **parts.plugins.config_defaults()}
    values, lines = options.from_state(state, classes)
    notes += lines
    built = rebuild(foreign.config, str(file.path))
    built.mixed_layers = _mixed_layers(built, state)
    networks.apply_precision(built, "fp32", "cpu")
    optimizer = _usable(optimizer, state, notes)
    notes += options.settle(values, built, optimizer)
    number_format = _precision(state, notes)
    values["training"]["precision"] = number_format
    _set_options(parts, values, classes, notes)
    built.color_order = _color_order(parts, notes)
    shapes = {name: array.shape for name, array in foreign.weights.items()}
    generation = import_checkpoint(
        parts,
        built,
        {name: torch.from_numpy(array) for name, array in foreign.weights.items()},
        None if optimizer is None else training_tree(optimizer, shapes),
        state.iterations,
        state.sessions,
    )
    made = Imported(
        source=str(file.path),
        folder=str(folder),
        model=state.name,
        parameters=networks.count(built),
        iterations=state.iterations,
        sessions=len(state.sessions),
        optimizer=None if optimizer is None else optimizer.name,
        optimizer_step=None if optimizer is None else optimizer.step,
        precision=number_format,
        generation=generation.name,
        notes=tuple(notes),
    )
    write_atomic(folder / RECORD, to_json_bytes(_record(file, state, made)))
    return made


def _request(folder: Path, state: ForeignState) -> Request:
    """Return the request to resume with, with the add-on that keeps a found rate if installed."""
    finder = options.FOUND_RATE.split(".")[1]
    if state.learning_rate is None or not any(
        found.name == finder for found in discovery.installed("addons")
    ):
        return Request(folder, state.name)
    return Request(folder, state.name, addons=[*TrainingOptions().addons, finder])


def _usable(
    optimizer: ForeignOptimizer | None, state: ForeignState, notes: list[str]
) -> ForeignOptimizer | None:
    if optimizer is None:
        return None
    for name, values in optimizer.slots.items():
        if not all(np.isfinite(array).all() for array in values.values()):
            notes.append(f"the optimiser starts afresh: a moment of {name} is not finite")
            return None
    # Some optimizers do not count steps.
    return attrs.evolve(optimizer, step=optimizer.step or state.iterations)


def _record(file: ModelFile, state: ForeignState, made: Imported) -> dict[str, Any]:
    return {
        "format": 1,
        "time": time.time(),
        "source": str(file.path.resolve()),
        "sha256": sha256(file.path),
        "options": dict(state.config),
        "learning_rate_found": state.learning_rate,
        "mixed_precision_layers": sorted(state.mixed_layers),
        "notes": list(made.notes),
        "state": dict(state.data),
    }


def _set_options(
    parts: ResolvedRun,
    values: dict[str, dict[str, Any]],
    classes: Mapping[str, type],
    notes: list[str],
) -> None:
    for section in list(values):
        try:
            resolve({section: classes[section]}, [ModelFolderSource("the model", values)], classes)
        except ConfigError as error:
            notes.append(f"the options of [{section}] do not fit together ({error.problems[0]})")
            del values[section]
    config, _ = resolve(classes, [ModelFolderSource("the model", values)])
    parts.options.replace(config)


def _mixed_layers(built: Network, state: ForeignState) -> tuple[str, ...]:
    """Return the paths of the layers that follow the number format.

    They are those that the state names, else those that compute in half precision, else all layers
    but inputs and the activations of outputs.
    """
    import keras

    plain = [
        (path, layer)
        for path, layer in networks.layers(built)
        if not isinstance(layer, keras.Model | keras.layers.InputLayer)
    ]
    mixed = tuple(
        path
        for path, layer in plain
        if layer.name.replace(".", "_") in state.mixed_layers
        or layer.dtype_policy.name.startswith("mixed")
    )
    if mixed:
        return mixed
    ends = _output_layers(built.model)
    return tuple(path for path, layer in plain if id(layer) not in ends)


def _output_layers(model: Any) -> set[int]:
    import keras

    found = set()
    for tensor in model.outputs:
        operation = tensor._keras_history[0]
        if isinstance(operation, keras.Model):
            found |= _output_layers(operation)
        else:
            found.add(id(operation))
    return found


def _precision(state: ForeignState, notes: list[str]) -> str:
    if not state.config.get("mixed_precision"):
        return "fp32"
    if backend.device("auto").type == "cuda":
        return "fp16"
    notes.append(
        "it was trained in mixed precision, which needs a GPU; precision is fp32 here. "
        "On a machine with one, add: --set training.precision=fp16"
    )
    return "fp32"


def _color_order(parts: ResolvedRun, notes: list[str]) -> Any:
    try:
        return parts.plugins.model.network_spec().color_order
    except ConfigError as error:
        notes.append(
            f"its options do not make a network ({error.problems[0]}); colors are taken as BGR"
        )
        return "bgr"


def _verify(folder: Path) -> None:
    """Open the written folder as a swap or a run would, without memory for the weights."""
    parts = resolve_run(Request(folder), ("models", "feeds", "executors"))
    make_network(parts, 0, backend.torch().device("meta"))
