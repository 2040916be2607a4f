"""Make the network of a resolved run: a new one, or what its checkpoint holds.

Nothing in the model folder is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from fs_kernel.errors import ModelFolderError
from fs_kernel.networks import precision
from fs_kernel.networks import serialization as graph
from fs_kernel.networks import weights as network
from fs_kernel.plugins import record as provenance
from fs_kernel.plugins.other_formats import require_model
from fs_kernel.storage.model_state import ModelState
from fs_kernel.training.resolve import ResolvedRun
from fs_kernel.types import Network

if TYPE_CHECKING:
    import torch


def make_network(
    resolved: ResolvedRun, seed: int, device: torch.device, number_format: str = "fp32"
) -> Network:
    """The network, with its weights: a new one, or what the checkpoint holds.

    Raises:
        FsError: the plugin or the checkpoint cannot make one.
    """
    with network.building(seed, device):
        if resolved.generation is None:
            built = network.build(resolved.plugins)
            built.mixed_layers = precision.following_layers(built)
        else:
            built = _adapt(resolved, _rebuild(resolved))
    if resolved.generation is not None:
        tensors = resolved.checkpoints.read_weights(resolved.generation)
        _require_fingerprint(resolved, built, tensors)
        network.assign(built, tensors, f"generation {resolved.generation}")
    precision.apply(built, number_format, device.type)
    return built


def _adapt(resolved: ResolvedRun, built: Network) -> Network:
    sections = resolved.plugins.of_kind("models").sections
    adapted = resolved.plugins.adapt_model(built, resolved.before.view(sections))
    if adapted is None:
        return built
    return attrs.evolve(built, model=adapted.model, outputs=adapted.outputs, extra=adapted.extra)


def read_graph(resolved: ResolvedRun) -> Network:
    """The network of the checkpoint's graph, weights not yet set. Call inside ``building``."""
    assert resolved.generation is not None
    path = resolved.checkpoints.network_path(resolved.generation)
    source = f"generation {resolved.generation}: {path.name}"
    data = graph.parse(path.read_bytes(), source)
    return graph.from_json(data, resolved.plugins.custom_objects(), source)


def _rebuild(resolved: ResolvedRun) -> Network:
    item = resolved.plugins.of_kind("models")
    try:
        return read_graph(resolved)
    except ModelFolderError as error:
        if not provenance.has_changed(resolved.remembered.get(provenance.key(item)), item):
            raise
        fitted = provenance.what_fitted(resolved.remembered, item, resolved.request.model_dir)
        raise ModelFolderError(f"{error}; {fitted}") from error


def _require_fingerprint(
    resolved: ResolvedRun, built: Network, tensors: Mapping[str, torch.Tensor]
) -> None:
    assert resolved.state is not None
    if network.fingerprint(built) == resolved.state.fingerprint:
        return
    if not (lines := network.differences(built, tensors)):
        return
    item = resolved.plugins.of_kind("models")
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    fitted = provenance.what_fitted(resolved.remembered, item, resolved.request.model_dir)
    raise ModelFolderError(
        f"generation {resolved.generation} does not fit {item}, which builds another network now: "
        f"{', '.join(lines[:3])}{more}; {fitted}"
    )


def load_weights(
    resolved: ResolvedRun, built: Network, source: Path, warn: Callable[[str], None]
) -> tuple[str, bool]:
    """Start a new model from another model folder's sub-models.

    Returns:
        A line that says what matched, and whether everything did.

    Raises:
        ModelFolderError: there is no model of ours in ``source``.
        UsageError: nothing matched.
    """
    other = require_model(source)

    def read() -> tuple[dict[str, torch.Tensor], ModelState]:
        name = other.latest_valid(warn)
        state = ModelState.from_json(other.read_state(name), f"generation {name}")
        return other.read_weights(name), state

    tensors, state = other.read_consistently(read)
    title = f"{source} ({state.network_name}, step {state.iterations})"
    fits = network.copy_sub_models(built, tensors, resolved.plugins.load_layers(built), title)
    counts = ", ".join(f"{fit.name} {len(fit.copied)} of {fit.total}" for fit in fits)
    misfit = next(filter(None, (fit.misfit for fit in fits)), None)
    more = "" if misfit is None else f"; the first that does not fit: {misfit}"
    return f"weights loaded from {title}: {counts}{more}", misfit is None
