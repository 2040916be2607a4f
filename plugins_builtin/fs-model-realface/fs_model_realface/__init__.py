"""A network of free sizes with a heavy decoder for side B and a lighter one for A.

The network itself is `fs_model_realface.network.realface`; here it is offered to the kernel.
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
class RealfaceOptions:
    """Section ``model.realface``."""

    input_size: int = option(
        64,
        "Size of the faces seen, in pixels, a multiple of 16.",
        minimum=64,
        maximum=128,
        fixed=True,
    )
    output_size: int = option(
        128,
        "Size of the faces made, in pixels, a multiple of 32.",
        minimum=64,
        maximum=256,
        fixed=True,
    )
    dense_nodes: int = option(
        1536,
        "Width of the narrowest layer of decoder B; A has two thirds of it.",
        minimum=768,
        maximum=2048,
        fixed=True,
    )
    complexity_encoder: int = option(
        128,
        "Width of the encoder: filters of its first convolution.",
        minimum=96,
        maximum=160,
        fixed=True,
    )
    complexity_decoder: int = option(
        512,
        "Width of decoder B: filters of its second upscaler; A has two thirds of it.",
        minimum=512,
        maximum=544,
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.realface": RealfaceOptions, "network": NetworkOptions}


@hookimpl
def network_spec(config: Config) -> NetworkSpec:
    options = config["model.realface"]
    size, output = options.input_size, options.output_size
    problems = []
    if size % 16 or not 64 <= size <= 128:
        problems.append(
            f"model.realface.input_size is {size}; write a multiple of 16 from 64 to 128"
        )
    if output % 32 or not 64 <= output <= 256:
        problems.append(
            f"model.realface.output_size is {output}; write a multiple of 32 from 64 to 256"
        )
    if problems:
        raise ConfigError(problems)
    return NetworkSpec({"a": (size, size, 3), "b": (size, size, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_realface.network import realface

    own, options = config["model.realface"], config["network"]
    return realface(
        inputs,
        Blocks.of(options),
        output_size=own.output_size,
        dense=own.dense_nodes,
        encoder=own.complexity_encoder,
        decoder=own.complexity_decoder,
        learn_mask=options.learn_mask,
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
