"""A small kernel that trains face-swap autoencoders and knows nothing about any of them.

Plugin authors need `hookimpl`, `option`, `Network`, `Output`, `NetworkSpec` and the error types;
scripts and notebooks need `open_run`. Importing this package imports neither torch nor keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fs_kernel.config import Config
    from fs_kernel.errors import (
        ConfigError,
        FacesError,
        FsError,
        ModelFolderError,
        PluginError,
        TrainingError,
        UsageError,
    )
    from fs_kernel.hookspecs import API_VERSION, hookimpl
    from fs_kernel.run import TrainedModel, TrainingRun, open_model, open_run
    from fs_kernel.types import Network, NetworkSpec, Output
    from fs_kernel.values import Interval, option

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "Config",
    "ConfigError",
    "FacesError",
    "FsError",
    "Interval",
    "ModelFolderError",
    "Network",
    "NetworkSpec",
    "Output",
    "PluginError",
    "TrainedModel",
    "TrainingError",
    "TrainingRun",
    "UsageError",
    "hookimpl",
    "open_model",
    "open_run",
    "option",
]


#: Which module has what; each is imported when something of it is first asked for.
_ROOMS = {
    "config": ("Config",),
    "hookspecs": ("API_VERSION", "hookimpl"),
    "run": ("TrainedModel", "TrainingRun", "open_model", "open_run"),
    "types": ("Network", "NetworkSpec", "Output"),
    "values": ("Interval", "option"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fs_kernel' has no attribute '{name}'")
    room = next((room for room, names in _ROOMS.items() if name in names), "errors")
    return getattr(importlib.import_module(f"fs_kernel.{room}"), name)
