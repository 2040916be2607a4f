"""Read ``optimizer.pt``: a torch state dict keyed by the positions of weights in two groups."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fs_kernel.errors import ModelFolderError

from fs_addon_import.foreign import ForeignOptimizer
from fs_addon_import.keras3.slots import UnusableError
from fs_addon_import.keras3.weights import Weight

#: Largest size in bytes of the pickle inside, without its tensors.
_MAX_PICKLE = 64 * 2**20
#: Optimizers by the slots that they keep for each weight.
_BY_SLOT = {
    "exp_avg_var": "adabelief",
    "exp_inf": "adamax",
    "mu_product": "nadam",
    "square_avg": "rms-prop",
    "exp_avg_sq": "adam",
    "exp_avg": "lion",
}
_SCALAR = ("step", "mu_product")
_SETTINGS = {"lr": "learning_rate", "eps": "epsilon", "weight_decay": "weight_decay"}


def read_optimizer(
    path: Path, weights: Sequence[Weight], chosen: str | None, label: str
) -> ForeignOptimizer:
    """Return the optimizer with its moments by the names of their weights.

    Args:
        path: the file.
        weights: of the network, in the order of the graph.
        chosen: the optimizer that the options name, used where the file is ambiguous.
        label: what to call the file in errors.

    Raises:
        UnusableError: with one line that says why.
        ModelFolderError: the file is damaged or hostile.
    """
    _require_plain(path, label)
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise ModelFolderError(f"{label} holds more than numbers; refused") from None
    except Exception as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelFolderError(f"{label} is damaged: {reason}") from None
    state, groups, scaler = _parts(tree)
    for owners in (
        [w for w in weights if w.trained and not w.frozen],
        [w for w in weights if w.trained],
    ):
        order = [*(w for w in owners if w.decays), *(w for w in owners if not w.decays)]
        counts = [sum(w.decays for w in owners), sum(not w.decays for w in owners)]
        if counts == [len(group["params"]) for group in groups]:
            break
    else:
        raise UnusableError("its groups do not fit the network's weights")
    places = [place for group in groups for place in group["params"]]
    slots = {
        owner.name: _values(state[place], owner)
        for place, owner in zip(places, order, strict=True)
        if place in state
    }
    if not slots:
        raise UnusableError("it holds no moments")
    name = _name({key for values in slots.values() for key in values}, chosen)
    steps = [int(values["step"]) for values in slots.values() if "step" in values]
    settings = {ours: groups[0][key] for key, ours in _SETTINGS.items() if key in groups[0]}
    if isinstance(groups[0].get("betas"), list | tuple) and len(groups[0]["betas"]) == 2:
        settings["beta_1"], settings["beta_2"] = groups[0]["betas"]
    return ForeignOptimizer(name, max(steps, default=0), slots, scaler, settings)


def _require_plain(path: Path, label: str) -> None:
    """Require uncompressed tensors, so that reading needs no more memory than the file's size.

    Raises:
        ModelFolderError: a member is compressed or too large, or the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        raise ModelFolderError(f"{label} is not a torch file of this kind; it is damaged") from None
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED:
            raise ModelFolderError(f"{label} holds packed members; refused")
        if info.filename.endswith(".pkl") and info.file_size > _MAX_PICKLE:
            raise ModelFolderError(f"{label} is larger than it can be; refused")


def _parts(tree: Any) -> tuple[dict[int, Any], list[dict[str, Any]], dict[str, Any] | None]:
    saved = tree.get("optimizer") if isinstance(tree, dict) else None
    if not isinstance(saved, dict):
        raise UnusableError("it holds no optimizer")
    state, groups = saved.get("state"), saved.get("param_groups")
    if not isinstance(state, dict) or not isinstance(groups, list) or not groups:
        raise UnusableError("it holds no state by groups")
    seen: set[int] = set()
    for group in groups:
        params = group.get("params") if isinstance(group, dict) else None
        if not isinstance(params, list) or not all(type(p) is int for p in params):
            raise UnusableError("its groups name no weights")
        if len(set(params)) != len(params) or seen & set(params):
            raise UnusableError("its groups name weights twice")
        seen |= set(params)
    return state, groups, _scaler(tree.get("scaler"))


def _scaler(found: Any) -> dict[str, Any] | None:
    keys = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
    if not isinstance(found, dict) or not found:
        return None
    numbers = {key: found[key] for key in keys if type(found.get(key)) in (int, float)}
    return numbers if len(numbers) == len(keys) else None


def _values(entry: Any, owner: Weight) -> dict[str, np.ndarray]:
    """Return the slots of one weight: arrays of its shape, and scalars."""
    if not isinstance(entry, Mapping):
        raise UnusableError(f"it holds nothing usable for {owner.name}")
    found = {}
    for key, value in entry.items():
        if key in _SCALAR:
            found[key] = np.asarray(float(value), np.float32)
        elif isinstance(value, torch.Tensor):
            if type(value) is not torch.Tensor or value.layout != torch.strided:
                raise UnusableError(f"'{key}' of {owner.name} is not a plain tensor")
            if tuple(value.shape) != owner.shape or not value.is_floating_point():
                raise UnusableError(f"'{key}' of {owner.name} does not fit the weight")
            found[str(key)] = value.detach().to(torch.float32, copy=True).contiguous().numpy()
    return found


def _name(slots: set[str], chosen: str | None) -> str:
    for slot, name in _BY_SLOT.items():
        if slot in slots:
            # Adam and AdamW keep the same slots.
            return "adamw" if name == "adam" and chosen == "adamw" else name
    raise UnusableError("it holds no moments")
