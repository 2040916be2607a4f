"""Plugins behind their typed calls, networks and batches, without a run around them."""

from __future__ import annotations

import functools
import gc
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fs_kernel import backend, networks
from fs_kernel.options import CommandLineSource, resolve
from fs_kernel.plugins.plugin_set import load_role
from fs_kernel.testing.arrays import array_faces, array_landmarks, array_mask
from fs_kernel.types import Batch, BatchMeta, Network, Output, Side

if TYPE_CHECKING:
    import torch


def by_section(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return ``{"section.option": value}`` as ``{section: {option: value}}``."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, {})[key] = value
    return sections


def make_plugin(kind: str, plugin: Any, options: Mapping[str, Any] = {}) -> Any:
    """Return one plugin behind the typed calls of its kind, with its options resolved.

    Args:
        kind: "models", "trainers", ...
        plugin: name, path or object of the plugin.
        options: ``{"model.mine.width": 8}``.

    Raises:
        FsError: the plugin does not fit its hooks, or an option does not fit the plugin.
    """
    role = load_role(kind, plugin)
    sources = [CommandLineSource("options", by_section(options))]
    config, _ = resolve(role.config_defaults(), sources)
    role.store.replace(config)
    return role


def build_network(
    plugin: Any, options: Mapping[str, Any] = {}, *, seed: int = 1, device: str = "cpu"
) -> Network:
    """Return a new network of a model plugin, as the kernel makes it for a new model folder."""
    _pass_over_what_is_imported()
    model = make_plugin("models", plugin, options)
    with networks.building(seed, device):
        built = networks.build(model)
        built.mixed_layers = networks.following_layers(built)
    return built


@functools.cache
def _pass_over_what_is_imported() -> None:
    # Keras collects garbage for every network; looking through all modules each time takes longer
    # than building a small one.
    backend.keras()
    gc.collect()
    gc.freeze()


def array_batch(
    network: Network, count: int, *, step: int = 1, fields: Collection[str] = ()
) -> Batch:
    """Return a batch of array faces for a network, in its color order.

    Args:
        network: whose inputs and outputs it is for.
        count: faces per side.
        step: the step it is for; other steps have other faces.
        fields: names of the masks it holds, and "landmarks".
    """
    import torch

    def pictures(side: Side, size: int) -> torch.Tensor:
        return torch.from_numpy(array_faces(count, size, side=side, seed=step))

    def mask(name: str, size: int) -> torch.Tensor:
        return torch.from_numpy(np.stack([array_mask(name, size)] * count))

    def target(side: Side, output: Output) -> torch.Tensor | None:
        if output.kind == "aux":
            return None
        return pictures(side, output.size) if output.kind == "face" else mask("face", output.size)

    shapes = dict(zip(network.sides, (t.shape for t in network.model.inputs), strict=True))
    targets: dict[Side, list[torch.Tensor | None]] = {}
    held: dict[Side, dict[str, dict[int, torch.Tensor]]] = {}
    for side in network.sides:
        outputs = [output for _, output in network.outputs_of(side)]
        targets[side] = [target(side, output) for output in outputs]
        sizes = [o.size for o in outputs if o.kind == "face"]
        held[side] = {
            name: {size: mask(name, size) for size in sizes}
            for name in sorted(set(fields) - {"landmarks"})
        }
    indices = {side: np.arange(count) for side in network.sides}
    inputs = {side: pictures(side, shape[1]) for side, shape in shapes.items()}
    landmarks: dict[Side, torch.Tensor] = {}
    if "landmarks" in fields:
        landmarks = {side: torch.from_numpy(array_landmarks(count)) for side in network.sides}
    return Batch(step, inputs, targets, BatchMeta(indices, held, landmarks))
