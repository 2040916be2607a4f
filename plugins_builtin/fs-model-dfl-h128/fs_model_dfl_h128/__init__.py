"""The first face-swap network at 128 px: one encoder, a decoder per side.

The network itself is `fs_model_dfl_h128.network.dfl_h128`; here it is offered to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, Network, NetworkSpec, hookimpl, option
from fs_nn.options import NetworkOptions

if TYPE_CHECKING:
    import keras

SIZE = 128


@attrs.frozen
class DflH128Options:
    """Section ``model.dfl_h128``."""

    lowmem: bool = option(
        False,
        "Half the width (48 instead of 108 million weights): less memory, less detail.",
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.dfl_h128": DflH128Options, "network": NetworkOptions}


@hookimpl
def network_spec() -> NetworkSpec:
    return NetworkSpec({"a": (SIZE, SIZE, 3), "b": (SIZE, SIZE, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_dfl_h128.network import LOWMEM, dfl_h128

    options = config["network"]
    widths = LOWMEM if config["model.dfl_h128"].lowmem else {}
    return dfl_h128(inputs, Blocks.of(options), learn_mask=options.learn_mask, **widths)


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
