"""Weights from outside: those of a checkpoint, strictly, and of another model where they fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from fs_kernel import backend
from fs_kernel.errors import ModelFolderError, UsageError
from fs_kernel.networks.enumeration import OWNED, every_layer, weights

if TYPE_CHECKING:
    import torch

    from fs_kernel.types import Network


def _copy(
    network: Network, named: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> None:
    with backend.torch().no_grad():
        for name, weight in named.items():
            weight.copy_(tensors[name])
    for _, layer in every_layer(network):
        # Layers such as Normalization compute with copies of their weights.
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def assign(network: Network, tensors: Mapping[str, torch.Tensor], source: str) -> list[str]:
    """Set every weight from ``tensors``.

    An owned network whose weights are missing or do not fit keeps those it was built with, and
    weights of an owned network that does not exist any more are dropped: trainers may change.

    Args:
        network: is changed, or left as it was if an error is raised.
        tensors: by stable name.
        source: what to call them in errors.

    Returns:
        A line for each owned network that was not set, or is gone.

    Raises:
        ModelFolderError: names or shapes differ from the swapped network's.
    """
    named = weights(network)
    own = {name: weight for name, weight in named.items() if not name.startswith(OWNED)}
    if missing := [name for name in own if name not in tensors]:
        raise ModelFolderError(f"{source} lacks {len(missing)} weights, the first: {missing[0]}")
    strange = [name for name in tensors if name not in own and not name.startswith(OWNED)]
    if strange:
        raise ModelFolderError(
            f"{source} has {len(strange)} unknown weights, the first: {strange[0]}"
        )
    for name, weight in own.items():
        if tuple(tensors[name].shape) != tuple(weight.shape):
            raise ModelFolderError(
                f"{source}: {name} has shape {tuple(tensors[name].shape)}, "
                f"the network needs {tuple(weight.shape)}"
            )
    lines = []
    for owner, weights_of in _by_owner(named).items():
        there = {n: t for n, t in tensors.items() if n.startswith(f"{OWNED}{owner}/")}
        if line := _owned_misfit(owner, weights_of, there, source):
            lines.append(line)
        else:
            own.update(weights_of)
    lines += [
        f"{source} has weights of network '{owner}', which no plugin builds now; they are dropped"
        for owner in _by_owner(tensors)
        if owner not in network.owned
    ]
    _copy(network, own, tensors)
    return lines


def _by_owner(named: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in named.items():
        if name.startswith(OWNED):
            found.setdefault(name[len(OWNED) :].partition("/")[0], {})[name] = tensor
    return found


def _owned_misfit(
    owner: str,
    named: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    source: str,
) -> str | None:
    if not tensors:
        return f"{source} has no weights of network '{owner}'; it starts with new ones"
    strange = next((f"{n} is not in the network" for n in tensors if n not in named), None)
    misfits = (_misfit(n, weight.shape, tensors.get(n)) for n, weight in named.items())
    misfit = next(filter(None, misfits), strange)
    if misfit is None:
        return None
    return (
        f"{source}: the weights of network '{owner}' do not fit ({misfit}); it starts with new ones"
    )


@attrs.frozen
class Fit:
    """How the weights of another model fitted a sub-model.

    Attributes:
        name: of the sub-model.
        copied: names of the weights that were copied.
        total: how many weights the sub-model has; 0 if the network has no such sub-model.
        misfit: the first weight that did not fit, and why, in words; None if all did.
    """

    name: str
    copied: tuple[str, ...]
    total: int
    misfit: str | None


def copy_sub_models(
    network: Network, tensors: Mapping[str, torch.Tensor], names: Iterable[str], source: str
) -> list[Fit]:
    """Copy the weights of the named sub-models where name and shape match.

    Returns:
        For each sub-model what fitted.

    Raises:
        UsageError: not one weight of any of them did; nothing is changed.
    """
    named = {n: weight for n, weight in weights(network).items() if not n.startswith(OWNED)}
    fits = [_fit(named, tensors, name) for name in names]
    copied = {name: named[name] for fit in fits for name in fit.copied}
    if not copied:
        wanted = ", ".join(fit.name for fit in fits) or "no sub-model"
        why = next((f": {fit.misfit}" for fit in fits), "")
        raise UsageError(f"{source}: no weight of {wanted} fits this network{why}")
    _copy(network, copied, tensors)
    return fits


def _fit(
    named: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], sub_model: str
) -> Fit:
    inside = [name for name in named if f"/{sub_model}/" in f"/{name}"]
    misfits = {n: m for n in inside if (m := _misfit(n, named[n].shape, tensors.get(n)))}
    misfit = next(iter(misfits.values()), None)
    if not inside:
        misfit = f"this network has no sub-model '{sub_model}'"
    elif not any(f"/{sub_model}/" in f"/{name}" for name in tensors):
        misfit = f"there is no sub-model '{sub_model}' in it"
    copied = tuple(name for name in inside if name not in misfits)
    return Fit(sub_model, copied, len(inside), misfit)


def _misfit(name: str, shape: Iterable[int], tensor: torch.Tensor | None) -> str | None:
    if tensor is None:
        return f"{name} is not in it"
    wanted, there = tuple(shape), tuple(tensor.shape)
    return None if wanted == there else f"{name} is {there} in it, {wanted} here"
