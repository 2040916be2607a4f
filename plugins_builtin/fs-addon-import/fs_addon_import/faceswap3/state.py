"""Write ``<model>_state.json`` from the state of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fs_kernel.storage import ModelState
from fs_kernel.types import Network

from fs_addon_import.options import NAMES

#: The options that each session of faceswap records, as they may change between sessions.
# fmt: off
_CHANGEABLE = (
    "mixed_precision", "nan_protection", "convert_batchsize",
    "loss_function", "loss_function_2", "loss_weight_2", "loss_function_3",
    "loss_weight_3", "loss_function_4", "loss_weight_4", "mask_loss_function", "eye_multiplier",
    "mouth_multiplier", "mask_dilation", "mask_blur_kernel", "mask_threshold", "learning_rate",
    "epsilon_exponent", "save_optimizer", "gradient_clipping", "clipping_value",
    "autoclip_history", "weight_decay", "gradient_accumulation", "fc_dropout",
    "fc_gblock_dropout", "freeze_layers",
)
_LOSSES = (
    "ffl", "flip", "gmsd", "l_inf_norm", "laploss", "logcosh", "lpips_alex", "lpips_squeeze",
    "lpips_vgg16", "mae", "ms_ssim", "mse", "none", "pixel_gradient_diff", "smooth_loss", "ssim",
)
_OPTIMIZERS = (
    "adabelief", "adam", "adamax", "adamw", "lion", "nadam", "rms-prop",
)
# fmt: on
#: faceswap's options without an equivalent here, and their defaults.
_UNKNOWN_HERE = {
    "nan_protection": True,
    "convert_batchsize": 16,
    "lr_finder_iterations": 1000,
    "lr_finder_mode": "set",
    "lr_finder_strength": "default",
}
#: Options of our models that faceswap does not have.
_OURS = ("preset", "enc_weights")


def state_of(
    state: ModelState,
    config: Mapping[str, Mapping[str, Any]],
    built: Network,
    record: Mapping[str, Any],
    found: Any,
) -> dict[str, Any]:
    """Return the content of the file.

    Args:
        state: of the model folder.
        config: its options as plain values, by section.
        built: its network.
        record: what was kept of the model when it was adopted, if it was.
        found: the learning rate that was found for it, or None.
    """
    options = {**_UNKNOWN_HERE, **_of_record(record), **_options(state.model, config)}
    live = {key: options[key] for key in _CHANGEABLE if key in options}
    sessions = {
        str(number): {
            "timestamp": session.started,
            "no_logs": False,
            "batchsize": session.batch_size,
            "iterations": session.steps,
            "config": live,
        }
        for number, session in enumerate(state.sessions, 1)
        if session.steps
    }
    layers = [path.rstrip("/").rsplit("/", 1)[-1] for path in built.mixed_layers]
    return {
        "name": state.model,
        "sessions": sessions,
        "lowest_avg_loss": state.average_loss or 0.0,
        "iterations": state.iterations,
        "mixed_precision_layers": [layer.replace(".", "_") for layer in layers],
        "lr_finder": found if isinstance(found, float) else -1.0,
        "config": options,
    }


def _of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return faceswap's options without an equivalent here, as they were at the import."""
    options = record.get("options")
    options = options if isinstance(options, dict) else {}
    return {
        key: options[key]
        for key, default in _UNKNOWN_HERE.items()
        if type(options.get(key)) is type(default)
    }


def _options(model: str, config: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    options = {}
    for theirs, name in NAMES.items():
        section, _, ours = name.rpartition(".")
        if ours in config.get(section, {}):
            options[theirs] = config[section][ours]
    options["mixed_precision"] = config["training"]["precision"] == "fp16"
    options["save_optimizer"] = config["save"]["optimizer"]
    own = config.get(f"model.{model}", {})
    options |= {key: value for key, value in own.items() if key not in _OURS}
    return {key: value for key, value in options.items() if _is_known(key, value)}


def _is_known(option: str, value: Any) -> bool:
    """Return whether faceswap offers this choice; if not, its own setting of the option stays."""
    if option.startswith("loss_function"):
        return value in _LOSSES
    return option != "optimizer" or value in _OPTIMIZERS
