"""Read the optimizer of a Keras-2 file: its step count and the moments of each weight.

The file has a flat list; only order and names tell which moment belongs to which weight. Until
TensorFlow 2.10 ("legacy" in later versions) moments are grouped by kind::

    Adam/iter:0, Adam/conv/kernel/m:0, Adam/conv/bias/m:0, ..., Adam/conv/kernel/v:0, ...

Since 2.11 they are grouped by weight; the order of weights within a kind is the same::

    iteration:0, Adam/m/conv/kernel:0, Adam/v/conv/kernel:0, Adam/m/conv/bias:0, ...
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import h5py
import keras
import numpy as np
from fs_kernel.errors import ModelFolderError
from fs_nn import hdf5
from fs_nn.hdf5 import Stored, squeezed

from fs_addon_import.foreign import ForeignOptimizer


@attrs.frozen
class _Kind:
    """An optimizer of Keras 2: our name for it, and torch's name for each of its moments."""

    name: str
    slots: Mapping[str, str]


_ADAM = {"m": "exp_avg", "v": "exp_avg_sq", "vhat": "max_exp_avg_sq"}
_BELIEF = {"m": "exp_avg", "v": "exp_avg_var", "vhat": "max_exp_avg_var"}
_RMS = {"rms": "square_avg", "velocity": "square_avg"}

#: By class name.
_KINDS = {
    "AdaBelief": _Kind("adabelief", _BELIEF),
    "AdaBeliefOptimizer": _Kind("adabelief", _BELIEF),
    "Adam": _Kind("adam", _ADAM),
    "AdamW": _Kind("adamw", _ADAM),
    "Adamax": _Kind("adamax", {"m": "exp_avg", "v": "exp_inf", "u": "exp_inf"}),
    "Lion": _Kind("lion", {"m": "exp_avg"}),
    "Nadam": _Kind("nadam", _ADAM),
    "RMSprop": _Kind("rms-prop", _RMS),
}
_COUNTERS = ("iter", "iteration", "learning_rate", "momentum_cache")
_SETTINGS = ("learning_rate", "beta_1", "beta_2", "epsilon", "rho", "weight_decay", "amsgrad")


def read(
    file: h5py.File, trained: Sequence[keras.Variable], names: Mapping[int, str]
) -> tuple[ForeignOptimizer | None, str | None]:
    """Return the optimizer of a file, if it has one.

    Args:
        file: the file.
        trained: the weights that trained, in the order of the file.
        names: the stable name of each weight, by its ``id``.

    Returns:
        The optimizer or None; a line that says what could not be imported, or None.

    Raises:
        ModelFolderError: the file does not hold a plain list of numbers.
    """
    config = _config(file)
    if "optimizer_weights" not in file or config is None:
        return None, None
    inner, scaler = _unwrapped(config)
    class_name = str(inner.get("class_name")).rpartition(">")[2]
    kind, settings = _KINDS.get(class_name), inner.get("config") or {}
    if kind is None:
        return None, f"the state of its optimizer {class_name} is left behind: there is none here"
    group = hdf5.member(file, "optimizer_weights")
    found = [hdf5.stored(group, name) for name in hdf5.names(group, "weight_names")]
    counters, moments = _sorted(found, str(settings.get("name", class_name)))
    if not moments or not counters:
        return None, None
    if any(not _fit(slot, trained) for slot in moments.values()):
        return None, f"the state of its optimizer {class_name} is left behind: it does not fit"
    slots = _slots(kind, moments, trained, names)
    step = _step(counters)
    if kind.name == "nadam":
        product = _momentum_product(counters, step, settings)
        for values in slots.values():
            values["mu_product"] = product
    # A learning rate may also be a schedule, which is not a number.
    chosen = {key: settings[key] for key in _SETTINGS if isinstance(settings.get(key), int | float)}
    left = ", ".join(sorted(moments.keys() - kind.slots.keys()))
    line = f"what its optimizer {class_name} kept as {left} is left behind" if left else None
    return ForeignOptimizer(kind.name, step, slots, scaler, chosen), line


def _slots(
    kind: _Kind,
    moments: Mapping[str, Sequence[Stored]],
    trained: Sequence[keras.Variable],
    names: Mapping[int, str],
) -> dict[str, dict[str, np.ndarray]]:
    """Return ``{weight name: {slot: array}}`` with torch's names of slots."""
    slots: dict[str, dict[str, np.ndarray]] = {names[id(variable)]: {} for variable in trained}
    for slot, ours in kind.slots.items():
        if slot not in moments:
            continue
        for variable, moment in zip(trained, moments[slot], strict=True):
            moment.require("float32")
            slots[names[id(variable)]][ours] = moment.read(variable.shape, "float32")
    return slots


def _config(file: h5py.File) -> Mapping[str, Any] | None:
    written = hdf5.text(file, "training_config")
    config = json.loads(written).get("optimizer_config") if written else None
    return config if isinstance(config, Mapping) else None


def _unwrapped(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any] | None]:
    """Return the config of the optimizer inside a loss scaler, and the scaler's state or None.

    The file does not hold the current scale: faceswap restarts at the initial scale, and so does
    torch's scaler with this state.
    """
    if not str(config.get("class_name")).startswith("LossScaleOptimizer"):
        return config, None
    outer = config.get("config") or {}
    inner = outer.get("inner_optimizer") or outer.get("optimizer") or {}
    scaler = {
        "scale": float(outer.get("initial_scale") or 2.0**15),
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": int(outer.get("dynamic_growth_steps") or 2000),
        "_growth_tracker": 0,
    }
    return inner, scaler


def _sorted(
    found: Sequence[Stored], optimizer: str
) -> tuple[dict[str, Stored], dict[str, list[Stored]]]:
    """Return the counters by name, and the moments by kind in the order of the weights."""
    counters: dict[str, Stored] = {}
    moments: dict[str, list[Stored]] = defaultdict(list)
    for item in found:
        parts = item.name.partition(":")[0].split("/")
        if parts[-1] in _COUNTERS and not item.shape:
            counters[parts[-1]] = item
        elif "iteration" in counters:
            place = parts.index(optimizer) if optimizer in parts else 0
            moments[parts[place + 1]].append(item)
        else:
            moments[parts[-1]].append(item)
    return counters, dict(moments)


def _fit(slot: Sequence[Stored], trained: Sequence[keras.Variable]) -> bool:
    shapes = [squeezed(variable.shape) for variable in trained]
    return [squeezed(item.shape) for item in slot] == shapes


def _step(counters: Mapping[str, Stored]) -> int:
    counter = counters.get("iter") or counters.get("iteration")
    if counter is None:
        raise ModelFolderError("its optimizer does not tell how many steps it has done")
    counter.require("int64")
    step = int(counter.read((), "int64"))
    if not 0 <= step < 2**31:
        raise ModelFolderError(f"its optimizer tells of {step} steps")
    return step


def _momentum_product(
    counters: Mapping[str, Stored], step: int, settings: Mapping[str, Any]
) -> np.ndarray:
    """Return the product of Nadam's momenta so far: as stored, else as torch computes it."""
    if cache := counters.get("momentum_cache"):
        cache.require("float32")
        return cache.read((), "float32")
    steps = np.arange(1, min(step, 10_000) + 1)  # The product is 0 in float32 long before.
    momenta = float(settings.get("beta_1", 0.9)) * (1 - 0.5 * 0.96 ** (steps * 0.004))
    return np.asarray(np.prod(momenta), "float32")
