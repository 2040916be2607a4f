"""Networks as the kernel sees them: built, named weight by weight, written, read and cut.

Each name is imported when it is first asked for; importing this package imports neither torch nor
keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fs_kernel.networks.construction import (
        build,
        building,
        check,
        check_owned,
        make_inputs,
        require_storable,
    )
    from fs_kernel.networks.enumeration import (
        count,
        differences,
        fingerprint,
        freeze,
        layers,
        parameters,
        seed_states,
        statistics,
        sub_models,
        variables,
        weights,
    )
    from fs_kernel.networks.inference import Swapper, SwapperCache, cut, swapper_network
    from fs_kernel.networks.precision import apply_precision, following_layers
    from fs_kernel.networks.reopening import require_reopenable
    from fs_kernel.networks.serialization import from_json, inspect, parse, to_json
    from fs_kernel.networks.transfer import Fit, assign, copy_sub_models

__all__ = [
    "Fit",
    "Swapper",
    "SwapperCache",
    "apply_precision",
    "assign",
    "build",
    "building",
    "check",
    "check_owned",
    "copy_sub_models",
    "count",
    "cut",
    "differences",
    "fingerprint",
    "following_layers",
    "freeze",
    "from_json",
    "inspect",
    "layers",
    "make_inputs",
    "parameters",
    "parse",
    "require_reopenable",
    "require_storable",
    "seed_states",
    "statistics",
    "sub_models",
    "swapper_network",
    "to_json",
    "variables",
    "weights",
]

#: Which module has what. No module may be called as one of these names is.
_LAZY = {
    "construction": (
        "build",
        "building",
        "check",
        "check_owned",
        "make_inputs",
        "require_storable",
    ),
    "enumeration": (
        "count",
        "differences",
        "fingerprint",
        "freeze",
        "layers",
        "parameters",
        "seed_states",
        "statistics",
        "sub_models",
        "variables",
        "weights",
    ),
    "inference": ("Swapper", "SwapperCache", "cut", "swapper_network"),
    "precision": ("apply_precision", "following_layers"),
    "reopening": ("require_reopenable",),
    "serialization": ("from_json", "inspect", "parse", "to_json"),
    "transfer": ("Fit", "assign", "copy_sub_models"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LAZY.items():
        if name in names:
            return getattr(importlib.import_module(f"fs_kernel.networks.{module}"), name)
    raise AttributeError(f"module 'fs_kernel.networks' has no attribute '{name}'")
