"""The first face-swap network: one encoder, a decoder per side, 64 px in and out.

The network itself is `fs_model_original.network.original`; here it is offered to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, Network, NetworkSpec, hookimpl, option
from fs_nn.options import NetworkOptions

if TYPE_CHECKING:
    import keras

SIZE = 64


@attrs.frozen
class OriginalOptions:
    """Section ``model.original``."""

    lowmem: bool = option(
        False,
        "A smaller encoder (61 instead of 82 million weights): less memory, less detail.",
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.original": OriginalOptions, "network": NetworkOptions}


@hookimpl
def network_spec() -> NetworkSpec:
    return NetworkSpec({"a": (SIZE, SIZE, 3), "b": (SIZE, SIZE, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_original.network import LOWMEM, original

    options = config["network"]
    widths = LOWMEM if config["model.original"].lowmem else {}
    return original(inputs, Blocks.of(options), learn_mask=options.learn_mask, **widths)


@hookimpl
def freeze_layers() -> list[str]:
    return ["encoder"]


@hookimpl
def load_layers() -> list[str]:
    return ["encoder"]


@hookimpl
def custom_objects() -> dict[str, type]:
    from fs_nn.layers import custom_objects

    return custom_objects()
