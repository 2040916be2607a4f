"""A network with a small decoder for side A and a large one for B, 64 to 512 px.

The network itself is `fs_model_unbalanced.network.unbalanced`; here it is offered to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_kernel import Config, Network, NetworkSpec, hookimpl, option
from fs_kernel.errors import ConfigError
from fs_nn.options import NetworkOptions

if TYPE_CHECKING:
    import keras


@attrs.frozen
class UnbalancedOptions:
    """Section ``model.unbalanced``."""

    input_size: int = option(
        128,
        "Size of the faces seen and made, in pixels, a multiple of 16.",
        minimum=64,
        maximum=512,
        fixed=True,
    )
    lowmem: bool = option(
        False,
        "A smaller network (108 instead of 207 million weights at 128 px): less memory, less "
        "detail. The widths below are not used then.",
        fixed=True,
    )
    nodes: int = option(
        1024, "Width of the narrowest layer.", minimum=512, maximum=4096, fixed=True
    )
    complexity_encoder: int = option(
        128,
        "Width of the encoder: filters of its first convolution.",
        minimum=64,
        maximum=1024,
        fixed=True,
    )
    complexity_decoder_a: int = option(
        384,
        "Width of decoder A: filters of its first upscaler.",
        minimum=64,
        maximum=1024,
        fixed=True,
    )
    complexity_decoder_b: int = option(
        512,
        "Width of decoder B: filters of its first upscaler.",
        minimum=64,
        maximum=1024,
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.unbalanced": UnbalancedOptions, "network": NetworkOptions}


@hookimpl
def network_spec(config: Config) -> NetworkSpec:
    size = config["model.unbalanced"].input_size
    if size % 16:
        raise ConfigError(f"model.unbalanced.input_size is {size}; write a multiple of 16")
    return NetworkSpec({"a": (size, size, 3), "b": (size, size, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_unbalanced.network import LOWMEM, unbalanced

    own, options = config["model.unbalanced"], config["network"]
    widths = {
        "nodes": own.nodes,
        "encoder": own.complexity_encoder,
        "decoder_a": own.complexity_decoder_a,
        "decoder_b": own.complexity_decoder_b,
    }
    return unbalanced(
        inputs,
        Blocks.of(options),
        learn_mask=options.learn_mask,
        **(LOWMEM if own.lowmem else widths),
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
