"""A network with a deep residual encoder and residual decoders, 128 px in and out.

The network itself is `fs_model_villain.network.villain`; here it is offered to the kernel.
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
class VillainOptions:
    """Section ``model.villain``."""

    lowmem: bool = option(
        False,
        "A shallower encoder (119 instead of 155 million weights): less memory, less detail.",
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.villain": VillainOptions, "network": NetworkOptions}


@hookimpl
def network_spec() -> NetworkSpec:
    return NetworkSpec({"a": (SIZE, SIZE, 3), "b": (SIZE, SIZE, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_villain.network import LOWMEM, villain

    options = config["network"]
    widths = LOWMEM if config["model.villain"].lowmem else {}
    return villain(inputs, Blocks.of(options), learn_mask=options.learn_mask, **widths)


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
