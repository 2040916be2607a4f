"""Make the network of a resolved run: a new one, or what its checkpoint holds.

Nothing in the model folder is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import memory, networks
from fs_kernel.errors import ModelFolderError, PluginError
from fs_kernel.plugins import record
from fs_kernel.plugins.other_formats import require_model
from fs_kernel.storage import ModelState
from fs_kernel.training.resolve import ResolvedRun
from fs_kernel.types import Network

if TYPE_CHECKING:
    import torch


def make_network(
    resolved: ResolvedRun, seed: int, device: torch.device, precision: str = "fp32"
) -> tuple[Network, list[str]]:
    """Return the network with its weights: a new one, or what the checkpoint holds.

    Returns:
        The network, and lines about owned networks that the checkpoint does not fit.

    Raises:
        FsError: the plugin or the checkpoint cannot make one.
    """
    model, lines = resolved.plugins.model, list[str]()
    # Before the first large tensor is made: what is mapped by itself by then stays so.
    memory.keep_freed_memory()
    with networks.building(seed, device):
        if resolved.checkpoint is None:
            built = networks.build(model)
            built.mixed_layers = networks.following_layers(built)
        else:
            built = _rebuild(resolved)
            if (adapted := model.adapt_model(built, resolved.before)) is not None:
                built = attrs.evolve(built, model=adapted.model, outputs=adapted.outputs)
        built.owned = _owned_networks(resolved, built)
    if resolved.checkpoint is None:
        networks.require_reopenable(built, model.custom_objects(), str(model))
    else:
        tensors = resolved.checkpoints.read_weights(resolved.checkpoint)
        _require_fingerprint(resolved, built, tensors)
        lines = networks.assign(built, tensors, f"checkpoint {resolved.checkpoint}")
    networks.apply_precision(built, precision, device.type)
    return built, lines


def _owned_networks(resolved: ResolvedRun, built: Network) -> dict[str, Any]:
    """Return what trainer and objectives own, built by them in every session.

    Raises:
        PluginError: two of them give one name, or a checkpoint could not hold what they give.
    """
    owned: dict[str, Any] = {}
    for plugin in (*resolved.plugins.every("trainers"), *resolved.plugins.objectives):
        made = networks.check_owned(plugin.build_networks(built), str(plugin))
        if twice := sorted(made.keys() & owned.keys()):
            raise PluginError(f"{plugin}: another plugin owns a network '{twice[0]}' too")
        owned |= made
    return owned


def read_graph(resolved: ResolvedRun) -> Network:
    """Return the network of the checkpoint's graph, weights not set. Call inside ``building``."""
    assert resolved.checkpoint is not None
    path = resolved.checkpoints.network_path(resolved.checkpoint)
    source = f"checkpoint {resolved.checkpoint}: {path.name}"
    data = networks.parse(path.read_bytes(), source)
    return networks.from_json(data, resolved.plugins.model.custom_objects(), source)


def _rebuild(resolved: ResolvedRun) -> Network:
    item = resolved.plugins.model.loaded
    try:
        return read_graph(resolved)
    except ModelFolderError as error:
        if not record.has_changed(resolved.remembered.get(record.key(item)), item):
            raise
        raise _misfit(resolved, str(error)) from error


def _require_fingerprint(
    resolved: ResolvedRun, built: Network, tensors: Mapping[str, torch.Tensor]
) -> None:
    assert resolved.state is not None
    if networks.fingerprint(built) == resolved.state.fingerprint:
        return
    if lines := networks.differences(built, tensors):
        more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
        does_not = f"checkpoint {resolved.checkpoint} does not fit {resolved.plugins.model}"
        now = f"which builds another network now: {', '.join(lines[:3])}{more}"
        raise _misfit(resolved, f"{does_not}, {now}")


def _misfit(resolved: ResolvedRun, line: str) -> ModelFolderError:
    item, model_dir = resolved.plugins.model.loaded, resolved.request.model_dir
    fitted = record.what_fitted(resolved.remembered, item, model_dir)
    return ModelFolderError(f"{line}; {fitted}")


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
        state = ModelState.from_json(other.read_state(name), f"checkpoint {name}")
        return other.read_weights(name), state

    tensors, state = other.read_consistently(read)
    title = f"{source} ({state.network_name}, step {state.iterations})"
    fits = networks.copy_sub_models(
        built, tensors, resolved.plugins.model.load_layers(built), title
    )
    counts = ", ".join(f"{fit.name} {len(fit.copied)} of {fit.total}" for fit in fits)
    misfit = next(filter(None, (fit.misfit for fit in fits)), None)
    more = "" if misfit is None else f"; the first that does not fit: {misfit}"
    return f"weights loaded from {title}: {counts}{more}", misfit is None
