"""A small network: one encoder, a decoder per side, 64 px in and out.

The network itself is `fs_model_lightweight.network.lightweight`; here it is offered to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_kernel import Config, Network, NetworkSpec, hookimpl
from fs_nn.options import NetworkOptions

if TYPE_CHECKING:
    import keras

SIZE = 64


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"network": NetworkOptions}


@hookimpl
def network_spec() -> NetworkSpec:
    return NetworkSpec({"a": (SIZE, SIZE, 3), "b": (SIZE, SIZE, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_lightweight.network import lightweight

    options = config["network"]
    return lightweight(inputs, Blocks.of(options), learn_mask=options.learn_mask)


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
