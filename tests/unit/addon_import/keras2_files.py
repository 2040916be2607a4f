"""Small Keras-2 files, written through h5py in the layout that TensorFlow's Keras gave them.

Graphs are written as Keras 2 did: old inbound nodes, numbered calls, settings that are gone today.
The layout was compared with files of TensorFlow 2.12.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fs_graph
import h5py
import keras
import numpy as np
import torch
from fs_addon_import.foreign import ForeignNetwork, ForeignOptimizer
from fs_addon_import.keras2 import read_keras2
from fs_addon_import.rebuild import custom_objects
from fs_kernel import networks
from fs_kernel.types import Network

Weights = Mapping[str, Sequence[tuple[str, np.ndarray]]]


def ref(name: str, call: int = 0, output: int = 0, **kwargs: Any) -> list[Any]:
    """A tensor as one call of a layer takes it."""
    return [name, call, output, kwargs]


def layer(kind: str, name: str, *calls: Any, **config: Any) -> dict[str, Any]:
    """A layer; each of ``calls`` is a producer's name, or a list of what `ref` gives."""
    nodes = [[ref(call)] if isinstance(call, str) else call for call in calls]
    settings = {"name": name, "trainable": True, "dtype": "float32", **config}
    return {"class_name": kind, "config": settings, "name": name, "inbound_nodes": nodes}


def entrance(name: str, *shape: int) -> dict[str, Any]:
    """An input of pictures or vectors of ``shape``."""
    config = {"batch_input_shape": [None, *shape], "sparse": False, "ragged": False}
    made = layer("InputLayer", name, **config)
    del made["config"]["trainable"]
    return made


def model(
    name: str,
    layers: Sequence[Mapping[str, Any]],
    outputs: Any,
    *calls: Any,
    inputs: Sequence[str] | None = None,
    trainable: bool = True,
) -> dict[str, Any]:
    """A Functional; ``outputs`` are names, or references of three as Keras 2 nests them."""
    entrances = inputs or [e["name"] for e in layers if e["class_name"] == "InputLayer"]
    nested = [[out, 0, 0] if isinstance(out, str) else out for out in outputs]
    config = {
        "name": name,
        "trainable": trainable,
        "layers": list(layers),
        "input_layers": [[entrance, 0, 0] for entrance in entrances],
        "output_layers": nested,
    }
    made = layer("Functional", name, *calls)
    return {**made, "config": config}


def conv(name: str, source: str, filters: int, kernel: int = 3, **config: Any) -> dict[str, Any]:
    """A Conv2D with all that Keras 2 wrote for one."""
    settings = {
        "filters": filters,
        "kernel_size": [kernel, kernel],
        "strides": [1, 1],
        "padding": "same",
        "data_format": "channels_last",
        "dilation_rate": [1, 1],
        "groups": 1,
        "activation": "linear",
        "use_bias": True,
        "kernel_initializer": {"class_name": "HeUniform", "config": {"seed": None}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": None,
        "bias_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": None,
        "bias_constraint": None,
    }
    return layer("Conv2D", name, source, **{**settings, **config})


def dense(name: str, source: str, units: int, **config: Any) -> dict[str, Any]:
    """A Dense with all that Keras 2 wrote for one."""
    settings = {
        "units": units,
        "activation": "linear",
        "use_bias": True,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": None,
    }
    return layer("Dense", name, source, **{**settings, **config})


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Made-up weights or pictures, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def write(
    path: Path,
    root: Mapping[str, Any],
    weights: Weights,
    *,
    optimizer: Sequence[tuple[str, np.ndarray]] = (),
    optimizer_config: Mapping[str, Any] | None = None,
    version: str = "2.12.0",
) -> Path:
    """A model file.

    Args:
        path: where.
        root: from `model`.
        weights: per top-level layer, names and values in the order of the file.
        optimizer: the same for the optimiser.
        optimizer_config: its class and settings.
        version: of Keras.
    """
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        entry = {"class_name": root["class_name"], "config": root["config"]}
        file.attrs["model_config"] = json.dumps(entry)
        if optimizer_config is not None:
            training = {"loss": "mse", "optimizer_config": optimizer_config}
            file.attrs["training_config"] = json.dumps(training)
        group = file.create_group("model_weights")
        names = [entry["name"] for entry in root["config"]["layers"]]
        group.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            _write_list(group.require_group(name), weights.get(name, ()))
        if optimizer:
            _write_list(file.create_group("optimizer_weights"), optimizer)
    return path


def _write_list(group: h5py.Group, items: Sequence[tuple[str, np.ndarray]]) -> None:
    group.attrs["weight_names"] = [f"{name}:0".encode() for name, _ in items]
    for name, value in items:
        group.create_dataset(f"{name}:0", data=value)


def read(path: Path, state: Mapping[str, Any] | None = None) -> ForeignNetwork:
    """The network of a file, without its optimiser."""
    return read_keras2(path, state)[0]


def read_optimizer(path: Path) -> tuple[ForeignNetwork, ForeignOptimizer | None]:
    """The network and the optimiser of a file."""
    return read_keras2(path, None)


def build(foreign: ForeignNetwork) -> keras.Model:
    """The network, with its weights, through the kernel's check of the graph."""
    with networks.building(0, "cpu"):
        made = fs_graph.read(json.loads(json.dumps(foreign.config)), custom_objects())
    tensors = {name: torch.from_numpy(value) for name, value in foreign.weights.items()}
    networks.assign(Network(made, []), tensors, "it")
    return made


def answers(foreign: ForeignNetwork, *inputs: np.ndarray) -> list[np.ndarray]:
    """What the network makes of inputs."""
    made = build(foreign)
    with torch.no_grad():
        found = made([torch.from_numpy(array) for array in inputs], training=False)
    return [t.float().numpy() for t in (found if isinstance(found, list | tuple) else [found])]


def through(
    path: Path,
    layers: Sequence[Mapping[str, Any]],
    x: np.ndarray,
    weights: Sequence[tuple[str, np.ndarray]] = (),
    state: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """What a file's layers make of ``x``, the last of them giving the result.

    The layers stand in a sub-model "body", whose entrance is called "x".
    """
    body = model("body", [entrance("x", *x.shape[1:]), *layers], [layers[-1]["name"]], "face")
    root = model("net", [entrance("face", *x.shape[1:]), body], [["body", 1, 0]])
    return answers(read(write(path, root, {"body": list(weights)}), state), x)[0]
