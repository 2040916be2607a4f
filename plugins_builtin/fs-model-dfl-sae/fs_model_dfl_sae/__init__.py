"""The SAE networks: df with a decoder per side, liae with one decoder for all.

The networks themselves are `fs_model_dfl_sae.network.df` and `liae`; here they are offered to the
kernel.
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
class DflSaeOptions:
    """Section ``model.dfl_sae``."""

    input_size: int = option(
        128,
        "Size of the faces seen and made, in pixels, a multiple of 16.",
        minimum=64,
        maximum=256,
        fixed=True,
    )
    architecture: str = option(
        "df",
        "df keeps the sides apart in two decoders and looks more like side B; liae has one "
        "decoder for both and copes better with faces of different shape.",
        choices=("df", "liae"),
        fixed=True,
    )
    autoencoder_dims: int = option(
        0,
        "Width of the narrowest layer; 0 stands for 512 with df and 256 with liae.",
        minimum=0,
        maximum=1024,
        fixed=True,
    )
    encoder_dims: int = option(
        42,
        "Width of the encoder: a third of the filters of its first convolution.",
        minimum=21,
        maximum=85,
        fixed=True,
    )
    decoder_dims: int = option(
        21,
        "Width of the decoders: a sixth of the filters of their last upscaler.",
        minimum=10,
        maximum=85,
        fixed=True,
    )
    multiscale_decoder: bool = option(
        False,
        "Let the decoders also make faces of a quarter and half of the size, and learn from them.",
        fixed=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"model.dfl_sae": DflSaeOptions, "network": NetworkOptions}


@hookimpl
def network_spec(config: Config) -> NetworkSpec:
    size = config["model.dfl_sae"].input_size
    if size % 16:
        raise ConfigError(f"model.dfl_sae.input_size is {size}; write a multiple of 16")
    return NetworkSpec({"a": (size, size, 3), "b": (size, size, 3)}, "bgr")


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_dfl_sae import network

    own, options = config["model.dfl_sae"], config["network"]
    build = network.df if own.architecture == "df" else network.liae
    code = {"code": own.autoencoder_dims} if own.autoencoder_dims else {}
    return build(
        inputs,
        Blocks.of(options),
        encoder_dims=own.encoder_dims,
        decoder_dims=own.decoder_dims,
        multiscale=own.multiscale_decoder,
        learn_mask=options.learn_mask,
        **code,
    )


@hookimpl
def freeze_layers(config: Config) -> list[str]:
    return [f"encoder_{config['model.dfl_sae'].architecture}"]


@hookimpl
def load_layers(config: Config) -> list[str]:
    return [f"encoder_{config['model.dfl_sae'].architecture}"]


@hookimpl
def custom_objects() -> dict[str, type]:
    from fs_nn.layers import custom_objects

    return custom_objects()
