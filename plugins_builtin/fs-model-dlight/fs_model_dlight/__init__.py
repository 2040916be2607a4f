"""A network with a densely joined encoder and two unlike decoders: 128 px in, up to 384 out.

The network itself is `fs_model_dlight.network.dlight`; here it is offered to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, Network, NetworkSpec, hookimpl, option
from fs_kernel.errors import ConfigError
from fs_nn.options import NetworkOptions

if TYPE_CHECKING:
    import keras

SIZE = 128
SIZES_OUT = (128, 256, 384)


@attrs.frozen
class DlightOptions:
    """Section ``model.dlight``."""

    features: str = option(
        "best",
        "How much of a face the encoder keeps. Less needs less memory.",
        choices=("lowmem", "fair", "best"),
        fixed=True,
    )
    details: str = option(
        "good",
        "How much detail decoder B makes: good has residual blocks, fast has none.",
        choices=("fast", "good"),
        fixed=True,
    )
    output_size: int = option(
        256,
        "Size of the faces made: 128, 256 or 384 pixels; the faces seen are always 128.",
        minimum=128,
        maximum=384,
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.dlight": DlightOptions, "network": NetworkOptions}


@hookimpl
def network_spec(config: Config) -> NetworkSpec:
    output = config["model.dlight"].output_size
    if output not in SIZES_OUT:
        raise ConfigError(f"model.dlight.output_size is {output}; write 128, 256 or 384")
    return NetworkSpec({"a": (SIZE, SIZE, 3), "b": (SIZE, SIZE, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_dlight.network import FEATURES, dlight

    own, options = config["model.dlight"], config["network"]
    return dlight(
        inputs,
        Blocks.of(options),
        scale=own.output_size // 64,
        fast=own.details == "fast",
        learn_mask=options.learn_mask,
        **FEATURES[own.features],
    )


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
