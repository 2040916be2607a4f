"""The weights of a network by name, and setting them from outside.

A weight is identified by the path of sub-models and layers that leads to it and its own name
("encoder/conv_128_0_conv2d/kernel", see `fs_graph.names`), and by object identity; this module is
the only one that enumerates weights.

Networks that a trainer or an objective owns come after it, under ``extra:NAME/``. A plain
`torch.nn.Module` gives its weights under torch's own names: ``extra:critic/0.weight``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
import fs_graph
import keras
import torch

from fs_kernel.errors import ModelFolderError, UsageError
from fs_kernel.types import Network

Tensors: TypeAlias = Mapping[str, torch.Tensor]
#: Begins the names of weights of owned networks; so do those on disk.
OWNED = "extra:"


def _roots(network: Network) -> dict[str, Any]:
    return {"": network.model, **{f"{OWNED}{n}/": m for n, m in network.owned.items()}}


def layers(network: Network) -> Iterator[tuple[str, Any]]:
    """Yield every layer and model of the swapped network once, with the path that leads to it."""
    return fs_graph.layers(network.model)


def every_layer(network: Network) -> Iterator[tuple[str, Any]]:
    """Yield the layers of the swapped network and of every owned Keras model, with their paths."""
    for prefix, root in _roots(network).items():
        # On this backend a Keras layer is a torch module too.
        if isinstance(root, keras.Layer):
            yield from fs_graph.layers(root, prefix)


def variables(network: Network) -> dict[str, keras.Variable]:
    """Return the Keras variables of the swapped network, by stable name, in `weights`' order."""
    return fs_graph.variables(network.model)


def weights(network: Network) -> dict[str, torch.Tensor]:
    """Return every weight once, by its stable name, in the order of the graph.

    The tensors are the network's own: to write into one is to change the network. Those of owned
    networks follow those of the swapped one.
    """
    named: dict[int, tuple[str, torch.Tensor]] = {}
    for prefix, root in _roots(network).items():
        for name, tensor in fs_graph.tensors(root, prefix).items():
            named.setdefault(id(tensor), (name, tensor))
    return dict(named.values())


def by_owner(named: Tensors) -> dict[str, dict[str, torch.Tensor]]:
    """Return weights by the name of the owned network they are of; "" is the swapped network."""
    found: dict[str, dict[str, torch.Tensor]] = {"": {}}
    for name, tensor in named.items():
        owner = name[len(OWNED) :].partition("/")[0] if name.startswith(OWNED) else ""
        found.setdefault(owner, {})[name] = tensor
    return found


def parameters(network: Network, of: str | None = None) -> dict[str, torch.nn.Parameter]:
    """Return the weights that train, by stable name; frozen ones are left out.

    Args:
        network: the network.
        of: name of an owned network; None for the swapped network alone.

    Raises:
        KeyError: there is no owned network of that name.
    """
    prefix, root = ("", network.model) if of is None else (f"{OWNED}{of}/", network.owned[of])
    found: dict[str, Any] = fs_graph.tensors(root, prefix)
    trained = fs_graph.trained(root)
    return {name: tensor for name, tensor in found.items() if id(tensor) in trained}


def statistics(network: Network) -> dict[str, torch.Tensor]:
    """Return the floating weights that change without gradients (batch normalization's)."""
    layers = (layer for _, layer in every_layer(network))
    own = {id(v._value) for layer in layers for v in layer._non_trainable_variables}
    own |= {id(buffer) for owned in network.owned.values() for buffer in owned.buffers()}
    found = weights(network).items()
    return {n: tensor for n, tensor in found if id(tensor) in own and tensor.is_floating_point()}


def seed_states(network: Network) -> dict[str, torch.Tensor]:
    """Return the state of every Keras seed generator, by name: no weights file has them."""
    generators = fs_graph.seed_generators(every_layer(network))
    return {name: generator.state._value for name, generator in generators.items()}


def count(network: Network) -> int:
    """Return how many numbers all weights hold, shared ones once, those of owned networks too."""
    return sum(tensor.numel() for tensor in weights(network).values())


def fingerprint(network: Network) -> str:
    """Return a short hash of the swapped network's weights' names, shapes and types.

    Equal means that checkpoints fit. Owned networks are not in it: they may come and go with the
    trainer.
    """
    found = fs_graph.descriptions(fs_graph.tensors(network.model))
    text = "\n".join(f"{name} {description}" for name, description in found.items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(network: Network, tensors: Tensors) -> list[str]:
    """Return where the swapped network's weights differ from ``tensors``, a line per weight."""
    found = fs_graph.tensors(network.model), by_owner(tensors)[""]
    changes = fs_graph.changes(*map(fs_graph.descriptions, found))
    return [f"{name} is {now or 'gone'}, was {was or 'not there'}" for name, now, was in changes]


def freeze(network: Network, names: Collection[str], frozen: bool) -> list[str]:
    """Freeze the named sub-models and owned networks, or let them train again.

    Returns:
        The names that are neither.
    """
    found = {**network.owned, **fs_graph.sub_models(network.model)}
    for part in (found[name] for name in names if name in found):
        fs_graph.freeze(part, frozen)
    return [name for name in names if name not in found]


def _copy(network: Network, named: Tensors, tensors: Tensors) -> None:
    with torch.no_grad():
        for name, weight in named.items():
            weight.copy_(tensors[name])
    for _, layer in every_layer(network):
        # Layers such as Normalization compute with copies of their weights.
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def assign(network: Network, tensors: Tensors, source: str) -> list[str]:
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
    given, fitting, lines = by_owner(tensors), dict[str, torch.Tensor](), list[str]()
    for owner, named in by_owner(weights(network)).items():
        there = given.get(owner, {})
        misfits = list(_misfits(named, there).values())
        misfits += [f"{name} is not in the network" for name in there if name not in named]
        if not misfits:
            fitting |= named
        elif not owner:
            count = len(misfits)
            raise ModelFolderError(f"{source}: {count} weights do not fit, the first: {misfits[0]}")
        elif not there:
            lines.append(f"{source} has no weights of network '{owner}'; it starts with new ones")
        else:
            why = f"the weights of network '{owner}' do not fit ({misfits[0]})"
            lines.append(f"{source}: {why}; it starts with new ones")
    lines += [
        f"{source} has weights of network '{owner}', which no plugin builds now; they are dropped"
        for owner in given
        if owner and owner not in network.owned
    ]
    _copy(network, fitting, tensors)
    return lines


def _misfits(named: Tensors, tensors: Tensors) -> dict[str, str]:
    """Return why, in words, for each weight that ``tensors`` has not, or of another shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return {
        name: f"{name} is {shapes[name]} in it, {tuple(weight.shape)} here"
        if name in shapes
        else f"{name} is not in it"
        for name, weight in named.items()
        if shapes.get(name) != tuple(weight.shape)
    }


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
    network: Network, tensors: Tensors, names: Iterable[str], source: str
) -> list[Fit]:
    """Copy the weights of the named sub-models where name and shape match.

    Returns:
        For each sub-model what fitted.

    Raises:
        UsageError: not one weight of any of them did; nothing is changed.
    """
    named = by_owner(weights(network))[""]
    fits = [_fit(named, tensors, name) for name in names]
    copied = {name: named[name] for fit in fits for name in fit.copied}
    if not copied:
        wanted = ", ".join(fit.name for fit in fits) or "no sub-model"
        why = next((f": {fit.misfit}" for fit in fits), "")
        raise UsageError(f"{source}: no weight of {wanted} fits this network{why}")
    _copy(network, copied, tensors)
    return fits


def _fit(named: Tensors, tensors: Tensors, sub_model: str) -> Fit:
    inside = {n: weight for n, weight in named.items() if f"/{sub_model}/" in f"/{n}"}
    misfits = _misfits(inside, tensors)
    misfit = next(iter(misfits.values()), None)
    if not inside:
        misfit = f"this network has no sub-model '{sub_model}'"
    elif not any(f"/{sub_model}/" in f"/{name}" for name in tensors):
        misfit = f"there is no sub-model '{sub_model}' in it"
    return Fit(sub_model, tuple(n for n in inside if n not in misfits), len(inside), misfit)
