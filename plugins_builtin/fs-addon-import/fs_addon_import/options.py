"""Translate faceswap's options into options of this program.

Ranges restrict what users may set, so a number out of range is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from fs_kernel.options import OptionInfo, check_value, options_of
from fs_kernel.types import Network

from fs_addon_import.foreign import ForeignOptimizer
from fs_addon_import.state import ForeignState

#: Cleared, because an imported network already has its weights.
_SETTLED = {"enc_load_weights": False}
#: The option that keeps a learning rate that was searched for.
FOUND_RATE = "addon.lr_finder.found"
#: Our names of options in a state file, by section; those of a model have kept their names.
_HERE = {
    "face": """
        centering coverage vertical_offset mask_type mask_dilation mask_blur_kernel mask_threshold
    """,
    "network": "icnr_init conv_aware_init reflect_padding learn_mask",
    "loss": """
        loss_function loss_function_2 loss_weight_2 loss_function_3 loss_weight_3 loss_function_4
        loss_weight_4 mask_loss_function eye_multiplier mouth_multiplier penalized_mask_loss
    """,
    "optimizer": """
        optimizer learning_rate epsilon_exponent gradient_clipping clipping_value autoclip_history
        weight_decay gradient_accumulation ada_beta_1 ada_beta_2 ada_amsgrad
    """,
}
#: Our name of each option, except those of the model and those whose values are translated.
NAMES = {
    option: f"{section}.{option}" for section, text in _HERE.items() for option in text.split()
}
NAMES |= {f"lr_finder_{o}": f"addon.lr_finder.{o}" for o in ("iterations", "mode", "strength")}
#: When faceswap saves the optimizer. Saved only at exit, its state would be lost in a crash.
_SAVE = {"always": "always", "exit": "always", "never": "never"}
#: Steps that a session of faceswap does by default.
_SESSION, _MOST = 1_000_000, 999_999_999
#: Settings of an optimizer that replace options which the state file lacks.
_OF_OPTIMIZER = {"learning_rate": "learning_rate", "beta_1": "ada_beta_1", "beta_2": "ada_beta_2"}


def from_state(
    state: ForeignState, classes: Mapping[str, type]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the values of our sections, and lines about options without an equivalent here.

    Args:
        state: of the other program.
        classes: the option classes of the run by section.
    """
    values: dict[str, dict[str, Any]] = {}
    notes = []
    for section, option, value in _by_our_names(state):
        known = options_of(classes[section]) if section in classes else {}
        if option not in known:
            continue
        if (taken := _taken(*known[option], value)) is None:
            notes.append(f"{option} = {str(value)[:60]!r} is not known here; the default is used")
        else:
            values.setdefault(section, {})[option] = taken
    values["training"] = {"iterations": min(state.iterations + _SESSION, _MOST)}
    if state.sessions and 1 <= state.sessions[-1].batch_size <= 256:
        values["training"]["batch_size"] = state.sessions[-1].batch_size
    if (said := str(state.config.get("save_optimizer"))) in _SAVE:
        values["save"] = {"optimizer": _SAVE[said]}
    return values, notes


def _by_our_names(state: ForeignState) -> Iterator[tuple[str, str, Any]]:
    """Yield section, option and value of every option that is imported."""
    for option, value in {**state.config, **_SETTLED}.items():
        name = NAMES.get(option, f"model.{state.name}.{option}")
        section, _, ours = name.rpartition(".")
        yield section, ours, value
    if state.learning_rate is not None:
        section, _, ours = FOUND_RATE.rpartition(".")
        yield section, ours, state.learning_rate


def _taken(annotation: Any, info: OptionInfo, value: Any) -> Any:
    """Return a value converted for our option, in range or not; None if it does not fit."""
    if annotation is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        check_value(value, annotation, attrs.evolve(info, minimum=None, maximum=None))
    except (ValueError, TypeError):
        return None
    return value


def settle(
    values: dict[str, dict[str, Any]],
    built: Network,
    optimizer: ForeignOptimizer | None,
) -> list[str]:
    """Let the contents of the file override its options.

    Args:
        values: changed in place.
        built: the network.
        optimizer: its optimizer, if the file holds one.

    Returns:
        Lines for the user.
    """
    notes = []

    def overrule(section: str, option: str, value: Any, default: Any) -> None:
        said = values.get(section, {}).get(option, default)
        if said != value:
            notes.append(
                f"{section}.{option} is {value}, as the file has it; its options say {said}"
            )
        values.setdefault(section, {})[option] = value

    overrule("network", "learn_mask", any(o.kind == "mask" for o in built.outputs), False)
    if optimizer is not None:
        overrule("optimizer", "optimizer", optimizer.name, "adam")
        for setting, option in _OF_OPTIMIZER.items():
            if setting in optimizer.settings:
                # The file holds it as float32.
                value = float(f"{optimizer.settings[setting]:.6g}")
                values["optimizer"].setdefault(option, value)
    return notes
