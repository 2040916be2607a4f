"""Read faceswap's ``<model>_state.json``, with its options brought up to date.

Options of old versions are updated one by one; each update sees the result of those before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import attrs
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import SessionRecord

_MAX_BYTES = 16 * 2**20
#: The values that options had in effect before they existed.
_BEFORE = {
    "centering": "legacy",
    "coverage": 62.5,
    "mask_loss_function": "mse",
    "optimizer": "adam",
    "mixed_precision": False,
}
_OLD_MASKS = {"facehull": "components", "dfl_full": "components"}
_MAX_STEPS = 999_999_999


@attrs.frozen
class ForeignState:
    """The history and options of a foreign model.

    Attributes:
        name: the model plugin.
        iterations: steps done.
        sessions: those with at least one step.
        config: its options, brought up to date, with the last session's values.
        mixed_layers: names of the layers that follow the number format; empty if nothing is known.
        learning_rate: the one that faceswap's search found, or None.
        notes: lines for the user about what was changed.
        data: the file as it is.
    """

    name: str
    iterations: int = 0
    sessions: tuple[SessionRecord, ...] = ()
    config: Mapping[str, Any] = attrs.field(factory=dict)
    mixed_layers: frozenset[str] = frozenset()
    learning_rate: float | None = None
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = attrs.field(factory=dict)


def read_json(path: Path) -> Mapping[str, Any] | None:
    """Return the content of a state file, or None if there is none.

    Raises:
        ModelFolderError: it is damaged.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelFolderError(f"{path} is larger than {_MAX_BYTES >> 20} MiB; refused")
        text = path.read_text(encoding="utf-8-sig")
        data = json.loads(text, parse_float=_finite, parse_constant=lambda _: None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFolderError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is damaged: {error}") from None
    if not isinstance(data, dict):
        raise ModelFolderError(f"{path} is damaged: it holds no state")
    return data


def _finite(text: str) -> float | None:
    return number if math.isfinite(number := float(text)) else None


def interpret(data: Mapping[str, Any] | None, stem: str) -> ForeignState:
    """Return what a state file says.

    Args:
        data: its content; None if there is no such file.
        stem: of the model file, which names the model where the state does not.
    """
    if data is None:
        line = "there is no state file: steps count from 0, options are the defaults"
        return ForeignState(stem, notes=(line,))
    name = data.get("name")
    options, notes = _updated(_dictionary(data.get("config")))
    sessions, live = _sessions(_dictionary(data.get("sessions")))
    iterations = _count(data.get("iterations"))
    done = sum(session.steps for session in sessions)
    first = max(iterations - done, 0)
    for session in sessions:
        session.first_step = first
        first += session.steps
    found = data.get("lr_finder")
    mixed = data.get("mixed_precision_layers")
    return ForeignState(
        name=name if isinstance(name, str) and name else stem,
        iterations=iterations,
        sessions=tuple(sessions),
        config={**options, **_updated(live, complete=False)[0]},
        mixed_layers=frozenset(
            layer.replace(".", "_")
            for layer in (mixed if isinstance(mixed, list) else [])
            if isinstance(layer, str)
        ),
        learning_rate=float(found) if _is_number(found) and found > 0 else None,
        notes=tuple(notes),
        data=data,
    )


def _sessions(found: Mapping[str, Any]) -> tuple[list[SessionRecord], Mapping[str, Any]]:
    """Return the sessions in order, and the options of the last one."""
    sessions: list[SessionRecord] = []
    live: Mapping[str, Any] = {}
    for key in sorted((k for k in found if str(k).isdecimal()), key=int):
        entry = _dictionary(found[key])
        steps = _count(entry.get("iterations"))
        live = _dictionary(entry.get("config")) or live
        if steps:
            started = entry.get("timestamp")
            sessions.append(
                SessionRecord(
                    started=float(started) if _is_number(started) else 0.0,
                    first_step=0,
                    batch_size=_count(entry.get("batchsize")),
                    seed=0,
                    steps=steps,
                )
            )
    return sessions, live


def _updated(found: Mapping[str, Any], complete: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Return the options by their current names, and lines about what was changed.

    Args:
        found: as the file has them.
        complete: whether the file should hold all options, so that missing ones did not exist yet
            when it was written.
    """
    options = {key: "none" if value is None else value for key, value in found.items()}
    notes = []
    if complete and "mask_type" in options and "learn_mask" not in options:
        options["learn_mask"] = options["mask_type"] != "none"
        notes.append(f"learn_mask is {options['learn_mask']}: the mask_type says so")
    if "dssim_loss" in options:
        options.setdefault("loss_function", "ssim" if options.pop("dssim_loss") else "mae")
        notes.append(f"dssim_loss is loss_function = {options['loss_function']} now")
    if options.get("mask_type") in _OLD_MASKS:
        old = options["mask_type"]
        options["mask_type"] = _OLD_MASKS[old]
        notes.append(f"mask_type {old} is {options['mask_type']} now")
    if "l2_reg_term" in options:
        options["loss_weight_2"] = options.pop("l2_reg_term")
        options["loss_function_2"] = "mse"
        notes.append(f"l2_reg_term is loss_weight_2 = {options['loss_weight_2']} of mse now")
    for old, new in (("clipnorm", "norm"), ("autoclip", "autoclip")):
        if old in options:
            if options.pop(old):
                options["gradient_clipping"] = new
                notes.append(f"{old} is gradient_clipping = {new} now")
            else:
                options.setdefault("gradient_clipping", "none")
    if complete:
        for option, value in _BEFORE.items():
            if option not in options:
                options[option] = value
                notes.append(f"{option} is {value}, as it was before it was an option")
        if options.get("mask_type") == "none":
            options.setdefault("penalized_mask_loss", False)
    return options, notes


def _dictionary(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _count(value: Any) -> int:
    return min(max(int(value), 0), _MAX_STEPS) if _is_number(value) else 0
