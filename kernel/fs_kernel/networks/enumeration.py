"""The weights of a network by name.

A weight is identified by the path of sub-models and layers that leads to it and its own name
("encoder/conv_128_0_conv2d/kernel"), and by object identity; this module is the only one that
enumerates weights. Keras's ``variable.path`` and torch's ``parameters()`` are not used for the
swapped network: two sub-models with equal layer names share the former, and one of the two then
vanishes from the latter.

Networks that a trainer or an objective owns come after it, under ``extra:NAME/``. A plain
`torch.nn.Module` gives its weights under torch's own names: ``extra:critic/0.weight``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from fs_kernel import backend

if TYPE_CHECKING:
    import keras
    import torch

    from fs_kernel.types import Network

#: Begins the names of weights of owned networks; so do those on disk.
OWNED = "extra:"
#: Which weights of a torch module `freeze` froze: its owner may have frozen others.
_frozen_by_us: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()


def sub_models(model: keras.Model) -> dict[str, keras.Model]:
    """Return every model nested in ``model``, by name, depth first; without ``model`` itself."""
    keras = backend.keras()
    found: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found[layer.name] = layer
            found.update(sub_models(layer))
    return found


def _walk(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield layers below ``layer`` with their paths; equal names side by side get #2, #3."""
    seen: dict[str, int] = {}
    for child in layer._flatten_layers(include_self=False, recursive=False):
        seen[child.name] = seen.get(child.name, 0) + 1
        name = child.name if seen[child.name] == 1 else f"{child.name}#{seen[child.name]}"
        yield f"{path}{name}/", child
        yield from _walk(child, f"{path}{name}/")


def _layers_of(root: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    visited: set[int] = set()
    for path, layer in ((prefix, root), *_walk(root, prefix)):
        if id(layer) not in visited:
            visited.add(id(layer))
            yield path, layer


def layers(network: Network) -> Iterator[tuple[str, Any]]:
    """Yield every layer and model of the swapped network once, with the path that leads to it."""
    return _layers_of(network.model)


def every_layer(network: Network) -> Iterator[tuple[str, Any]]:
    """Yield the layers of the swapped network and of every owned Keras model, with their paths."""
    for prefix, root in _roots(network).items():
        if _is_keras(root):
            yield from _layers_of(root, prefix)


def _roots(network: Network) -> dict[str, Any]:
    return {"": network.model, **{f"{OWNED}{n}/": m for n, m in network.owned.items()}}


def _is_keras(model: Any) -> bool:
    # On this backend a Keras layer is a torch module too.
    return isinstance(model, backend.keras().layers.Layer)


def _all_of(root: Any, prefix: str) -> dict[str, torch.Tensor]:
    """Return the weights of one network; a weight has the first name that leads to it."""
    if not _is_keras(root):
        return {f"{prefix}{name}": tensor for name, tensor in _torch_weights(root)}
    return {name: variable._value for name, variable in _variables_of(root, prefix).items()}


def _variables_of(root: Any, prefix: str = "") -> dict[str, keras.Variable]:
    named: dict[str, Any] = {}
    visited: set[int] = set()
    for path, layer in _layers_of(root, prefix):
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            if id(variable) in visited:
                continue
            visited.add(id(variable))
            name, number = path + variable.name, 1
            while name in named:
                number += 1
                name = f"{path}{variable.name}#{number}"
            named[name] = variable
    return named


def _torch_weights(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    kept = {
        f"{path}.{name}" if path else name
        for path, owner in module.named_modules(remove_duplicate=False)
        for name in owner._buffers.keys() - owner._non_persistent_buffers_set
    }
    yield from ((name, buffer) for name, buffer in module.named_buffers() if name in kept)


def _trains(root: Any) -> set[int]:
    """Return the identities of the tensors of one network that train."""
    if not _is_keras(root):
        return {id(p) for p in root.parameters() if p.requires_grad}
    found: set[int] = set()
    frozen: set[int] = set()
    for _, layer in _layers_of(root):
        found.update(id(v._value) for v in layer.trainable_variables)
        if not layer.trainable:
            frozen.update(id(v._value) for v in layer.variables)
    return found - frozen


def _changes_without_gradients(root: Any) -> set[int]:
    if not _is_keras(root):
        return {id(buffer) for buffer in root.buffers()}
    return {id(v._value) for _, layer in _layers_of(root) for v in layer._non_trainable_variables}


def variables(network: Network) -> dict[str, keras.Variable]:
    """Return the Keras variables of the swapped network, by stable name, in `weights`' order."""
    return _variables_of(network.model)


def weights(network: Network) -> dict[str, torch.Tensor]:
    """Return every weight once, by its stable name, in the order of the graph.

    The tensors are the network's own: to write into one is to change the network. Those of owned
    networks follow those of the swapped one.
    """
    named: dict[str, torch.Tensor] = {}
    visited: set[int] = set()
    for prefix, root in _roots(network).items():
        found = {n: t for n, t in _all_of(root, prefix).items() if id(t) not in visited}
        named.update(found)
        visited.update(map(id, found.values()))
    return named


def parameters(network: Network, of: str | None = None) -> dict[str, torch.nn.Parameter]:
    """Return the weights that train, by stable name; frozen ones are left out.

    Args:
        network: the network.
        of: name of an owned network; None for the swapped network alone.

    Raises:
        KeyError: there is no owned network of that name.
    """
    prefix, root = ("", network.model) if of is None else (f"{OWNED}{of}/", network.owned[of])
    trains = _trains(root)
    found: dict[str, Any] = _all_of(root, prefix)
    return {name: tensor for name, tensor in found.items() if id(tensor) in trains}


def statistics(network: Network) -> dict[str, torch.Tensor]:
    """Return the floating weights that change without gradients (batch normalization's)."""
    own: set[int] = set()
    for root in _roots(network).values():
        own |= _changes_without_gradients(root)
    found = weights(network).items()
    return {n: tensor for n, tensor in found if id(tensor) in own and tensor.is_floating_point()}


def seed_states(network: Network) -> dict[str, torch.Tensor]:
    """Return the state of every Keras seed generator, by name: no weights file has them."""
    return {
        f"{path}seed{i or ''}": generator.state._value
        for path, layer in every_layer(network)
        for i, generator in enumerate(getattr(layer, "_seed_generators", ()))
    }


def count(network: Network) -> int:
    """Return how many numbers all weights hold, shared ones once, those of owned networks too."""
    return sum(tensor.numel() for tensor in weights(network).values())


def descriptions(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return shape and type of each weight as text: "(3, 3, 3, 16) float32"."""
    return {
        name: f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in tensors.items()
    }


def fingerprint(network: Network) -> str:
    """Return a short hash of the swapped network's weights' names, shapes and types.

    Equal means that checkpoints fit. Owned networks are not in it: they may come and go with the
    trainer.
    """
    lines = [f"{n} {text}" for n, text in descriptions(_all_of(network.model, "")).items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def differences(network: Network, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return where the swapped network's weights differ from ``tensors``, a line per weight."""
    is_now = descriptions(_all_of(network.model, ""))
    was = descriptions({n: t for n, t in tensors.items() if not n.startswith(OWNED)})
    names = [*is_now, *(name for name in was if name not in is_now)]
    return [
        f"{name} is {is_now.get(name, 'gone')}, was {was.get(name, 'not there')}"
        for name in names
        if is_now.get(name) != was.get(name)
    ]


def freeze(network: Network, names: Iterable[str], frozen: bool) -> list[str]:
    """Freeze the named sub-models and owned networks, or let them train again.

    Returns:
        The names that are neither.
    """
    found = {**network.owned, **sub_models(network.model)}
    missing = []
    for name in names:
        if name not in found:
            missing.append(name)
        elif not _is_keras(found[name]):
            _freeze_module(found[name], frozen)
        elif found[name].trainable == frozen:
            found[name].trainable = not frozen
    return missing


def _freeze_module(module: Any, frozen: bool) -> None:
    ours = _frozen_by_us.setdefault(module, [])
    changing = [p for p in module.parameters() if p.requires_grad] if frozen else ours
    for parameter in changing:
        parameter.requires_grad_(not frozen)
    _frozen_by_us[module] = [*ours, *changing] if frozen else []
