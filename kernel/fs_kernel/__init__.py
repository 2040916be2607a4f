"""A small kernel that trains face-swap autoencoders and knows nothing about any of them.

Plugin authors need `hookimpl`, `option`, `Network`, `Output`, `NetworkSpec` and the error types;
scripts and notebooks need `open_run`. Importing this package imports neither torch nor keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from fs_kernel.options import Config, Interval, option
    from fs_kernel.run import TrainedModel, TrainingRun, open_model, open_run
    from fs_kernel.types import Network, NetworkSpec, Output

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
_LAZY = {
    "options.sources": ("Config",),
    "hookspecs": ("API_VERSION", "hookimpl"),
    "run": ("TrainedModel", "TrainingRun", "open_model", "open_run"),
    "types": ("Network", "NetworkSpec", "Output"),
    "options.fields": ("Interval", "option"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fs_kernel' has no attribute '{name}'")
    module = next((module for module, names in _LAZY.items() if name in names), "errors")
    return getattr(importlib.import_module(f"fs_kernel.{module}"), name)
