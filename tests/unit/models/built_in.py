"""The built-in networks: at full size without memory, and small enough to run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import attrs
import keras
import torch
from facts import load_facts
from fs_kernel import networks
from fs_kernel.options import CommandLineSource, resolve
from fs_kernel.plugins import load_role
from fs_kernel.types import Network
from fs_nn.blocks import Blocks

NAMES = (
    "lightweight",
    "dfaker",
    "dfl_h128",
    "dfl_sae",
    "dlight",
    "iae",
    "realface",
    "unbalanced",
    "villain",
)
#: Every configuration of the facts: ``(plugin, configuration)``.
CONFIGURATIONS = [(name, configuration) for name in NAMES for configuration in load_facts(name)]


def chosen(name: str, model: Mapping[str, Any], network: Mapping[str, Any] = {}) -> Any:
    """Return an installed model plugin with options, as a run has it."""
    role = load_role("models", name)
    values = {f"model.{name}": model, "network": network}
    given = {section: entries for section, entries in values.items() if entries}
    config, _ = resolve(role.config_defaults(), [CommandLineSource("--set", given)])
    role.store.replace(config)
    return role


def full_size(model: Any) -> Network:
    """Return the network as the kernel builds it, on the device that holds no numbers."""
    with networks.building(0, "meta"):
        return networks.build(model)


@attrs.frozen
class Small:
    """A network of few weights: the function, its input size, its widths."""

    function: str
    size: int
    widths: dict[str, Any]

    @property
    def plugin(self) -> str:
        return self.function.split(".")[0]

    def build(self, learn_mask: bool = True, **options: bool) -> Network:
        """The network on the CPU."""
        module, function = self.function.split(".")
        draw = getattr(importlib.import_module(f"fs_model_{module}.network"), function)
        with networks.building(1, "cpu"):
            faces = {
                side: keras.Input((self.size, self.size, 3), name=f"face_in_{side}")
                for side in "ab"
            }
            network = draw(faces, Blocks(**options), learn_mask=learn_mask, **self.widths)
        network = attrs.evolve(network, sides=("a", "b"))
        network.mixed_layers = networks.following_layers(network)
        _enliven(network)
        return networks.check(network, self.function)


def _enliven(network: Network) -> None:
    """Give kernels the variance that carries signals through few channels too.

    A normal start of deviation 0.02 is made for hundreds of channels.
    """
    with torch.no_grad():
        for parameter in networks.parameters(network).values():
            if parameter.ndim > 1:
                fan_in = parameter[..., 0].numel()
                parameter.mul_((2 / fan_in) ** 0.5 / parameter.std())


_ENCODER = {"convs": (3, 4, 4, 6), "dense": 6, "bottleneck": 4}
_DFAKER = {**_ENCODER, "shared": 4, "last": 3}
_SAE = {"code": 6, "encoder_dims": 1, "decoder_dims": 1}
_DLIGHT = {
    "first": 2,
    "dense": 6,
    "bottleneck": 4,
    "scale": 2,
    "ups_a": (8, 6, 4, 4),
    "ups_b": (8, 8, 6, 4, 4),
    "ups_mask": (6, 4, 4, 2),
}
_REALFACE = {"dense": 9, "bottleneck": 32, "encoder": 3, "decoder": 16, "mask": 12}
_UNBALANCED = {"nodes": 6, "encoder": 2, "bottleneck": 4, "decoder_a": 8, "decoder_b": 12}
_VILLAIN = {"first": 4, "residuals": 2, "conv": 6, "dense": 6, "bottleneck": 4, "shared": 4}
SMALL = {
    "lightweight": Small(
        "lightweight.lightweight", 64, {**_ENCODER, "shared": 4, "ups": (6, 4, 3)}
    ),
    "dfaker": Small("dfaker.dfaker", 64, {**_DFAKER, "ups": (6, 4, 4)}),
    "dfl_h128": Small("dfl_h128.dfl_h128", 128, {"convs": (3, 4, 4, 6), "width": 8}),
    "dfl_sae-df": Small("dfl_sae.df", 80, {**_SAE, "multiscale": True}),
    "dfl_sae-liae": Small("dfl_sae.liae", 64, _SAE),
    "dlight-good": Small("dlight.dlight", 128, _DLIGHT),
    "dlight-fast": Small("dlight.dlight", 128, {**_DLIGHT, "fast": True}),
    "iae": Small("iae.iae", 64, {**_ENCODER, "ups": (6, 4, 4, 3)}),
    "realface": Small("realface.realface", 80, {**_REALFACE, "output_size": 96}),
    "unbalanced": Small("unbalanced.unbalanced", 64, _UNBALANCED),
    "unbalanced-lowmem": Small(
        "unbalanced.unbalanced",
        80,
        {**_UNBALANCED, "decoder_b": 16, "dropouts": (0.25, 0.15), "residuals": False},
    ),
    "villain": Small("villain.villain", 128, {**_VILLAIN, "separables": (6, 8), "ups": (6, 4, 4)}),
}
