"""phaze_a: a freely composed network, and presets that reproduce others with it.

The network is `fs_model_phaze_a.network.phaze_a`; here it is offered to the kernel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fs_kernel import Config, Network, NetworkSpec, hookimpl
from fs_nn.options import NetworkOptions

from fs_model_phaze_a.options import PhazeAOptions

if TYPE_CHECKING:
    import keras

SECTION = "model.phaze_a"


@hookimpl
def config_defaults() -> dict[str, type]:
    return {SECTION: PhazeAOptions, "network": NetworkOptions}


@hookimpl
def network_spec(config: Config) -> NetworkSpec:
    from fs_model_phaze_a.plan import check

    plan = check(config[SECTION], config["network"])
    shape = (plan.input_size, plan.input_size, 3)
    return NetworkSpec({"a": shape, "b": shape}, plan.encoder.color_order)


@hookimpl
def build_model(inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
    from fs_nn.blocks import Blocks

    from fs_model_phaze_a.network import phaze_a

    network, options = config["network"], config[SECTION]
    built = phaze_a(inputs, Blocks.of(network), options, learn_mask=network.learn_mask)
    if options.enc_weights:
        from fs_model_phaze_a.enc_weights import load

        load(built, Path(options.enc_weights).expanduser())
    return built


@hookimpl
def adapt_model(network: Network, before: Config, after: Config) -> Network | None:
    from fs_model_phaze_a.dropout import with_rates

    was, now = (
        (config[SECTION].fc_dropout, config[SECTION].fc_gblock_dropout)
        for config in (before, after)
    )
    return None if was == now else with_rates(network, *now, custom_objects())


@hookimpl
def freeze_layers(network: Network, config: Config) -> list[str]:
    from fs_model_phaze_a.encoders import library_networks

    names: list[str] = []
    for name in config[SECTION].freeze_layers:
        names += library_networks(network.model) if name == "keras_encoder" else [name]
    return names


@hookimpl
def load_layers(config: Config) -> list[str]:
    return list(config[SECTION].load_layers)


@hookimpl
def custom_objects() -> dict[str, type]:
    from fs_nn.layers import application_objects, custom_objects

    return {**custom_objects(), **application_objects()}
