"""A network as the kernel sees it: building, naming its weights, freezing, copying weights in.

A weight is identified by the path of sub-models and layers that leads to it and its own name
("encoder/conv_128_0_conv2d/kernel"), and by object identity; this module is the only one that
enumerates weights. Keras's ``variable.path`` and torch's ``parameters()`` are not used: two
sub-models with equal layer names share the former, and one of the two then vanishes from the
latter.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import backend
from fs_kernel.errors import ModelFolderError, PluginError, UsageError
from fs_kernel.randomness import seed_everything
from fs_kernel.types import Network, NetworkSpec

if TYPE_CHECKING:
    import keras
    import torch

    from fs_kernel.plugins.roles import Plugins
    from fs_kernel.types import Side

#: Counts the networks of this process: the first one finds no memory to free, and to look for some
#: takes a fifth of a second.
_built = itertools.count()


@contextlib.contextmanager
def building(seed: int, device: str | torch.device) -> Iterator[None]:
    """The one place where networks are made: a cleared Keras session, seeded, on ``device``."""
    keras = backend.keras()
    keras.utils.clear_session(free_memory=next(_built) > 0)
    seed_everything(seed)
    with keras.device(str(device)):
        yield


def make_inputs(spec: NetworkSpec) -> dict[Side, keras.KerasTensor]:
    """Symbolic inputs ``face_in_<side>``, in the order of the sides."""
    keras = backend.keras()
    return {
        side: keras.Input(shape, name=f"face_in_{side}")
        for side, shape in spec.input_shapes.items()
    }


def build(plugins: Plugins) -> Network:
    """A new network from the model plugin. Call inside `building`.

    Raises:
        PluginError: what the plugin returned is not what it says it is.
    """
    item, spec = plugins.of_kind("models"), plugins.network_spec()
    with plugins.blaming(item, "network_spec"):
        inputs = make_inputs(spec)
    network = plugins.build_model(inputs)
    with plugins.blaming(item, "build_model"):
        return check(attrs.evolve(network, **_from_spec(spec)), str(item))


def _from_spec(spec: NetworkSpec) -> dict[str, Any]:
    return {"sides": tuple(spec.input_shapes), "color_order": spec.color_order}


def check(network: Network, who: str) -> Network:
    """Hold a network against its own description.

    Raises:
        PluginError: outputs and their description differ, in number, side, kind or size.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in network.model.outputs]
    if len(shapes) != len(network.outputs):
        raise PluginError(f"{who} describes {len(network.outputs)} outputs, has {len(shapes)}")
    if len(network.model.inputs) != len(network.sides):
        raise PluginError(
            f"{who} has {len(network.model.inputs)} inputs, {len(network.sides)} sides"
        )
    for shape, output in zip(shapes, network.outputs, strict=True):
        channels = {"face": 3, "mask": 1}.get(output.kind)
        if output.side not in network.sides:
            raise PluginError(f"{who}: an output names side '{output.side}', which has no input")
        if channels is not None and shape != (output.size, output.size, channels):
            raise PluginError(f"{who}: {output} has shape {shape}")
    for side in network.sides:
        if not any(o.kind == "face" for _, o in network.outputs_of(side)):
            raise PluginError(f"{who} gives no face for side '{side}'")
    return network


def sub_models(model: keras.Model) -> dict[str, keras.Model]:
    """Every model nested in ``model``, by name, depth first; ``model`` itself is left out."""
    keras = backend.keras()
    found: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found[layer.name] = layer
            found.update(sub_models(layer))
    return found


def _walk(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Layers below ``layer`` with their paths; equal names beside each other get #2, #3."""
    seen: dict[str, int] = {}
    for child in layer._flatten_layers(include_self=False, recursive=False):
        seen[child.name] = seen.get(child.name, 0) + 1
        name = child.name if seen[child.name] == 1 else f"{child.name}#{seen[child.name]}"
        yield f"{path}{name}/", child
        yield from _walk(child, f"{path}{name}/")


def layers(network: Network) -> Iterator[tuple[str, Any]]:
    """Every layer and model of a network once, with the path that leads to it."""
    visited: set[int] = set()
    roots = {"": network.model, **{f"extra:{n}/": m for n, m in network.extra.items()}}
    for prefix, root in roots.items():
        for path, layer in ((prefix, root), *_walk(root, prefix)):
            if id(layer) not in visited:
                visited.add(id(layer))
                yield path, layer


def weights(network: Network) -> dict[str, keras.Variable]:
    """Every weight once, by its lasting name, in the order of the graph."""
    named: dict[str, Any] = {}
    visited: set[int] = set()
    for path, layer in layers(network):
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            if id(variable) in visited:
                continue
            visited.add(id(variable))
            name, count = path + variable.name, 1
            while name in named:
                count += 1
                name = f"{path}{variable.name}#{count}"
            named[name] = variable
    return named


def parameters(network: Network) -> dict[str, torch.nn.Parameter]:
    """The weights that train, as torch parameters, by name. Frozen ones are left out."""
    trains: dict[int, bool] = {}
    for _, layer in layers(network):
        for variable in layer.trainable_variables:
            trains[id(variable)] = True
    frozen = _frozen_ids(network)
    return {
        name: variable._value
        for name, variable in weights(network).items()
        if id(variable) in trains and id(variable) not in frozen
    }


def _frozen_ids(network: Network) -> set[int]:
    frozen: set[int] = set()
    for _, layer in layers(network):
        if not layer.trainable:
            frozen.update(id(v) for v in layer.variables)
    return frozen


def statistics(network: Network) -> dict[str, keras.Variable]:
    """The floating weights that change without gradients (batch normalisation's), by name."""
    own = {id(v) for _, layer in layers(network) for v in layer._non_trainable_variables}
    return {
        name: variable
        for name, variable in weights(network).items()
        if id(variable) in own and variable._value.is_floating_point()
    }


def seed_states(network: Network) -> dict[str, keras.Variable]:
    """The state of every Keras seed generator, by name: they are in no weights file."""
    return {
        f"{path}seed{i or ''}": generator.state
        for path, layer in layers(network)
        for i, generator in enumerate(getattr(layer, "_seed_generators", ()))
    }


def count(network: Network) -> int:
    """How many numbers the network's weights hold, shared ones once."""
    return sum(_numel(variable.shape) for variable in weights(network).values())


def _numel(shape: Iterable[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def fingerprint(network: Network) -> str:
    """A short hash of all weights' names, shapes and types: equal means checkpoints fit."""
    lines = [f"{n} {tuple(v.shape)} {v.dtype}" for n, v in weights(network).items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def freeze(network: Network, names: Iterable[str], frozen: bool) -> list[str]:
    """Freeze the named sub-models, or let them train again; others stay as they are.

    Returns:
        The names that are no sub-model.
    """
    found = sub_models(network.model)
    missing = []
    for name in names:
        if name not in found:
            missing.append(name)
        elif found[name].trainable == frozen:
            found[name].trainable = not frozen
    return missing


def _refresh(network: Network) -> None:
    """Let layers that compute with copies of their weights (Normalization) make them anew."""
    for _, layer in layers(network):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def assign(network: Network, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Set every weight from ``tensors``.

    Raises:
        ModelFolderError: names or shapes are not exactly the network's.
    """
    torch = backend.torch()
    named = weights(network)
    if missing := [name for name in named if name not in tensors]:
        raise ModelFolderError(f"{source} lacks {len(missing)} weights, the first: {missing[0]}")
    if extra := [name for name in tensors if name not in named]:
        raise ModelFolderError(f"{source} has {len(extra)} unknown weights, the first: {extra[0]}")
    for name, variable in named.items():
        if tuple(tensors[name].shape) != tuple(variable.shape):
            raise ModelFolderError(
                f"{source}: {name} has shape {tuple(tensors[name].shape)}, "
                f"the network needs {tuple(variable.shape)}"
            )
    with torch.no_grad():
        for name, variable in named.items():
            variable._value.copy_(tensors[name])
    _refresh(network)


def differences(network: Network, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Where a network's weights are not those of ``tensors``, a line per weight."""
    is_now = {n: f"{tuple(v.shape)} {v.dtype}" for n, v in weights(network).items()}
    was = {n: f"{tuple(t.shape)} {t.dtype}".replace("torch.", "") for n, t in tensors.items()}
    names = [*is_now, *(name for name in was if name not in is_now)]
    return [
        f"{name} is {is_now.get(name, 'gone')}, was {was.get(name, 'not there')}"
        for name in names
        if is_now.get(name) != was.get(name)
    ]


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
    named = weights(network)
    fits = [_fit(named, tensors, name) for name in names]
    copied = {name for fit in fits for name in fit.copied}
    if not copied:
        wanted = ", ".join(fit.name for fit in fits) or "no sub-model"
        why = next((f": {fit.misfit}" for fit in fits), "")
        raise UsageError(f"{source}: no weight of {wanted} fits this network{why}")
    with backend.torch().no_grad():
        for name in copied:
            named[name]._value.copy_(tensors[name])
    _refresh(network)
    return fits


def _fit(
    named: Mapping[str, keras.Variable], tensors: Mapping[str, torch.Tensor], sub_model: str
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
