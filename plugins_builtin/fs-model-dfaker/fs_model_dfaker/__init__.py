"""A network with residual decoders: 64 px in and 128 px out, or 128 in and 256 out.

The network itself is `fs_model_dfaker.network.dfaker`; here it is offered to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, Network, NetworkSpec, hookimpl, option
from fs_kernel.errors import ConfigError
from fs_nn.options import NetworkOptions

if TYPE_CHECKING:
    import keras

SIZES = (128, 256)


@attrs.frozen
class DfakerOptions:
    """Section ``model.dfaker``."""

    output_size: int = option(
        128,
        "Size of the faces made, 128 or 256 pixels; the faces seen are half as large.",
        minimum=128,
        maximum=256,
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.dfaker": DfakerOptions, "network": NetworkOptions}


@hookimpl
def network_spec(config: Config) -> NetworkSpec:
    output = config["model.dfaker"].output_size
    if output not in SIZES:
        raise ConfigError(f"model.dfaker.output_size is {output}; write 128 or 256")
    size = output // 2
    return NetworkSpec({"a": (size, size, 3), "b": (size, size, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_dfaker.network import LARGE, dfaker

    options = config["network"]
    widths = LARGE if config["model.dfaker"].output_size == 256 else {}
    return dfaker(inputs, Blocks.of(options), learn_mask=options.learn_mask, **widths)


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
