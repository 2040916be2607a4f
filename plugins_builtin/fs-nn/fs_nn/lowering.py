"""Get the lowered network, for trainers that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fs_kernel.errors import ConfigError
from fs_kernel.types import Run

if TYPE_CHECKING:
    from torch import nn


def require_lowered(run: Run, trainer: str) -> nn.Module:
    """Return the module that runs the whole network, see `fs_kernel.types.Forward`.

    To replace a parameter of a Keras model changes nothing, silently: its layers use the variables
    they hold. A trainer that replaces parameters therefore needs a lowered network.

    Args:
        run: the run.
        trainer: its trainer's name, for the error.

    Raises:
        ConfigError: the executor does not lower the network, or not all of it.
    """
    module = run.module
    if module is None:
        raise ConfigError(
            f"trainer '{trainer}' needs the network as a torch module, and executor "
            f"'{run.info.executor}' runs it as a Keras model; add --set training.executor=torch"
        )
    fallbacks: Any = module.fallbacks
    if fallbacks:
        rest = f" and {len(fallbacks) - 1} more" if len(fallbacks) > 1 else ""
        raise ConfigError(
            f"trainer '{trainer}' needs the whole network as a torch module, but executor "
            f"'{run.info.executor}' leaves '{fallbacks[0]}'{rest} to Keras; choose trainer "
            "'standard', or 'ddp' for several GPUs"
        )
    return module
