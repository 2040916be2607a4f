"""Run a network as plain torch operations, translated once from its Keras graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_kernel import Config, Network, hookimpl
from fs_kernel.types import Forward

from fs_executor_torch.options import SECTION, FastOptions

if TYPE_CHECKING:
    import torch

    from fs_executor_torch.runner import Runner


def make_forward(
    network: Network, device: torch.device, options: FastOptions | None = None
) -> Runner:
    """Return a callable that runs a network as torch operations.

    Args:
        network: built, with its weights on ``device`` in the final precision; they are shared.
        device: the device of the inputs.
        options: how to run it; None for the defaults.
    """
    from fs_executor_torch.executable import Executable
    from fs_executor_torch.runner import Runner

    options = options or FastOptions()
    return Runner(Executable(network.model, options), network.sides, options.compile)


@hookimpl
def config_defaults() -> dict[str, type]:
    return {SECTION: FastOptions}


@hookimpl(specname="make_forward")
def make_forward_of(network: Network, device: torch.device, config: Config) -> Forward:
    return make_forward(network, device, config[SECTION])
