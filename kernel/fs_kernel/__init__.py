"""A small kernel that trains face-swap autoencoders and knows nothing about any of them.

Plugin authors need `hookimpl`, `option`, `Network`, `Output`, `NetworkSpec` and the error types;
scripts and notebooks need `open_run`. Importing this package imports neither torch nor keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from fs_kernel.types import Network, NetworkSpec, Output
from fs_kernel.values import Interval, option

if TYPE_CHECKING:
    from fs_kernel.run import TrainedModel, TrainingRun, open_model, open_run

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


def __getattr__(name: str) -> Any:
    if name in ("open_run", "open_model", "TrainingRun", "TrainedModel"):
        from fs_kernel import run

        return getattr(run, name)
    raise AttributeError(f"module 'fs_kernel' has no attribute '{name}'")
