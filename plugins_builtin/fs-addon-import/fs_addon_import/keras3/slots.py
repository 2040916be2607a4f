"""Read the state of a Keras 3 optimizer with the names and layout of torch's optimizers.

A weights file holds an optimizer's variables by number alone: counter and rate, then the moments,
grouped by weight or by kind. Their shapes tell which grouping it is and which weights have moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from fs_nn.hdf5 import stored

from fs_addon_import.foreign import ForeignOptimizer
from fs_addon_import.keras3.weights import Weight, numbered, read_array

#: Keras's class -> our name, and its variables per weight in order, by torch's names.
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "adam": ("adam", ("exp_avg", "exp_avg_sq")),
    "adamw": ("adamw", ("exp_avg", "exp_avg_sq")),
    "adamax": ("adamax", ("exp_avg", "exp_inf")),
    "nadam": ("nadam", ("exp_avg", "exp_avg_sq")),
    "lion": ("lion", ("exp_avg",)),
    "rmsprop": ("rms-prop", ("square_avg",)),
    "adabelief": ("adabelief", ("exp_avg", "exp_avg_var")),
    "adabeliefoptimizer": ("adabelief", ("exp_avg", "exp_avg_var")),
}
_SETTINGS = ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay", "amsgrad", "rho")


class UnusableError(Exception):
    """The optimizer's state cannot be used; the model itself can."""


def read_optimizer(
    compiled: Any, file: h5py.File, weights: Sequence[Weight]
) -> ForeignOptimizer | None:
    """Return the optimizer that the file was compiled with, or None.

    Args:
        compiled: the file's ``compile_config``.
        file: its weights.
        weights: in the order of the graph.

    Raises:
        UnusableError: with one line that says why.
        ModelFolderError: the file is damaged.
    """
    node = compiled.get("optimizer") if isinstance(compiled, dict) else None
    if not isinstance(node, dict) or "optimizer" not in file:
        return None
    scaler = None
    path = "optimizer/vars"
    config = _config(node)
    if node.get("class_name") == "LossScaleOptimizer":
        scaler = _scaler(config, file)
        node = config.get("inner_optimizer")
        if not isinstance(node, dict):
            raise UnusableError("its loss scaler holds no optimizer")
        config, path = _config(node), "optimizer/inner_optimizer/vars"
    word = str(node.get("class_name")).replace("_", "").lower()
    if word not in _KINDS:
        raise UnusableError(
            f"optimizers of the kind '{str(node.get('class_name'))[:40]}' are not known"
        )
    name, slots = _KINDS[word]
    paths = numbered(file, path)
    if len(paths) < 2:
        raise UnusableError("it holds no moments")
    every = config.get("gradient_accumulation_steps") or 1
    count = int(read_array(file, paths[0], (), "int64")) // every
    found = _slots(file, paths[2:], slots, config, weights)
    if name == "nadam":
        # Keras keeps one product of momenta, as the last variable; torch keeps it per weight.
        product = _product(file, paths[-1])
        found = {weight: {**values, "mu_product": product} for weight, values in found.items()}
    settings = {key: config[key] for key in _SETTINGS if config.get(key) is not None}
    return ForeignOptimizer(name, count, found, scaler, settings)


def _config(node: Mapping[str, Any]) -> dict[str, Any]:
    config = node.get("config")
    if not isinstance(config, dict):
        raise UnusableError("it has no settings")
    return config


def _scaler(config: Mapping[str, Any], file: h5py.File) -> dict[str, Any]:
    own = numbered(file, "optimizer/vars")
    if len(own) < 4:
        raise UnusableError("its loss scaler has no state")
    return {
        "scale": float(read_array(file, own[3], ())),
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": int(config.get("dynamic_growth_steps") or 2000),
        "_growth_tracker": int(read_array(file, own[2], (), "int64")),
    }


def _product(file: h5py.File, path: str) -> np.ndarray:
    if stored(file, path).shape != ():
        raise UnusableError("it lacks the product of its momenta")
    return read_array(file, path, ())


def _slots(
    file: h5py.File,
    paths: Sequence[str],
    slots: Sequence[str],
    config: Mapping[str, Any],
    weights: Sequence[Weight],
) -> dict[str, dict[str, np.ndarray]]:
    trained = [weight for weight in weights if weight.trained]
    shapes = [stored(file, path).shape for path in paths]
    for owners in ([w for w in trained if not w.frozen], trained):
        first = len(owners) * _extra_before(config)
        for layout in (_by_weight, _by_kind):
            order = layout(owners, slots)
            used = shapes[first : first + len(order)]
            if order and used == [owner.shape for owner, _ in order]:
                found: dict[str, dict[str, np.ndarray]] = {owner.name: {} for owner in owners}
                for path, (owner, slot) in zip(paths[first:], order, strict=False):
                    found[owner.name][slot] = read_array(file, path, owner.shape)
                _read_largest(file, paths[first + len(order) :], owners, config, found)
                return found
    raise UnusableError("its moments do not fit the network's weights")


def _extra_before(config: Mapping[str, Any]) -> int:
    """Return how many arrays per weight precede the moments: averages, accumulated gradients."""
    gathers = (config.get("gradient_accumulation_steps") or 1) > 1
    return int(bool(config.get("use_ema"))) + int(gathers)


def _by_weight(owners: Sequence[Weight], slots: Sequence[str]) -> list[tuple[Weight, str]]:
    return [(owner, slot) for owner in owners for slot in slots]


def _by_kind(owners: Sequence[Weight], slots: Sequence[str]) -> list[tuple[Weight, str]]:
    return [(owner, slot) for slot in slots for owner in owners]


def _read_largest(
    file: h5py.File,
    paths: Sequence[str],
    owners: Sequence[Weight],
    config: Mapping[str, Any],
    found: dict[str, dict[str, np.ndarray]],
) -> None:
    """Read the largest second moments of amsgrad, which come last, into ``found``.

    Raises:
        UnusableError: some are missing.
    """
    if not config.get("amsgrad"):
        return
    if len(paths) < len(owners):
        raise UnusableError("it lacks the largest moments that amsgrad keeps")
    for path, owner in zip(paths, owners, strict=False):
        second = next(slot for slot in found[owner.name] if slot != "exp_avg")
        found[owner.name][f"max_{second}"] = read_array(file, path, owner.shape)
