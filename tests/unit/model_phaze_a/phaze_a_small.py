"""The network phaze_a: as a run has it, and of a few thousand weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from fs_kernel import networks
from fs_kernel.options import CommandLineSource, Config, resolve
from fs_kernel.plugins import load_role
from fs_kernel.types import Network, NetworkSpec
from fs_model_phaze_a import SECTION, build_model
from fs_model_phaze_a.options import PhazeAOptions
from fs_model_phaze_a.plan import check
from fs_nn.options import NetworkOptions

#: 32 pixels in and out, doubled twice by the decoder.
SMALL: dict[str, Any] = {
    "output_size": 32,
    "enc_scaling": 0,
    "bottleneck_size": 12,
    "fc_min_filters": 8,
    "fc_max_filters": 8,
    "fc_upsample_filters": 8,
    "fc_gblock_depth": 2,
    "fc_gblock_min_nodes": 8,
    "fc_gblock_max_nodes": 16,
    "enable_gblock": False,
    "dec_min_filters": 8,
    "dec_max_filters": 16,
    "fs_original_depth": 3,
    "fs_original_min_filters": 4,
    "fs_original_max_filters": 8,
}


def chosen(model: Mapping[str, Any], network: Mapping[str, Any] = {}) -> Any:
    """Return the installed plugin with options as a user gives them."""
    role = load_role("models", "phaze_a")
    given = {k: v for k, v in ((SECTION, model), ("network", network)) if v}
    config, _ = resolve(role.config_defaults(), [CommandLineSource("--set", given)])
    role.store.replace(config)
    return role


def full_size(model: Any) -> Network:
    """Return the network as the kernel builds it, on the device that holds no numbers."""
    with networks.building(0, "meta"):
        return networks.build(model)


def config_of(model: Mapping[str, Any] = {}, network: Mapping[str, Any] = {}) -> Config:
    """Options in any range: `SMALL`, changed by ``model``."""
    options = PhazeAOptions(**{**SMALL, **model})
    return Config({SECTION: options, "network": NetworkOptions(**network)})


def small(
    model: Mapping[str, Any] = {}, network: Mapping[str, Any] = {}, device: str = "cpu"
) -> Network:
    """A network of few weights, checked as the kernel and the plugin check it."""
    config = config_of(model, network)
    plan = check(config[SECTION], config["network"])
    shape = (plan.input_size, plan.input_size, 3)
    spec = NetworkSpec({"a": shape, "b": shape}, plan.encoder.color_order)
    with networks.building(1, device):
        built = build_model(networks.make_inputs(spec), config)
        built.mixed_layers = networks.following_layers(built)
    return networks.check(
        attrs.evolve(built, sides=("a", "b"), color_order=spec.color_order), "phaze_a"
    )


def faces(network: Network, count: int = 2, seed: int = 0) -> list[torch.Tensor]:
    """Random pictures, one batch per side."""
    rng = torch.Generator().manual_seed(seed)
    shape = (count, *network.model.inputs[0].shape[1:])
    return [torch.rand(shape, generator=rng) for _ in network.sides]
