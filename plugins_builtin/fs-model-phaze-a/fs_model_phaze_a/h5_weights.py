"""Read Keras weight files through h5py alone, so that a file cannot choose what code runs.

Two layouts are known. The older one lists its layers, and each layer's weights, in attributes::

    @layer_names = [conv1, ...]
    conv1    @weight_names = [conv1/kernel:0, ...]
        conv1/kernel:0

Keras 3 numbers the layers of a model by class, and their weights; groups carry the layer's name::

    layers/conv2d/vars    @name = conv1
        0, 1, ...

`fs_nn.hdf5` guards the reading; nothing is read before its shape is known to fit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import h5py
import keras
from fs_nn import hdf5


class UnfitError(Exception):
    """The file does not hold what the network needs; the message says why."""


@attrs.frozen
class Stored:
    """A tensor in a file, not yet read.

    Attributes:
        name: its path in the file.
        shape: its shape.
        floating: whether it holds floating-point numbers.
        read: returns its values.
    """

    name: str
    shape: tuple[int, ...]
    floating: bool
    read: Callable[[], Any]


#: A weight of the network, its name in messages, and its counterpart in the file.
Pair = tuple[keras.Variable, str, Stored]


def pairs(file: h5py.File, net: keras.Model) -> list[Pair]:
    """Return each weight of ``net`` with its counterpart in the file.

    Raises:
        UnfitError: it has another number of layers or weights, or is not a weights file.
    """
    if hdf5.names(file, "layer_names"):
        return list(_listed(file, net))
    if "layers" in file:
        return list(_nested(hdf5.member(file, "layers"), net.layers))
    raise UnfitError("it holds no weights of Keras layers (no layer_names, no layers)")


# --- the older layout ----------------------------------------------------------------------------


def _listed(file: h5py.File, net: keras.Model) -> Iterator[Pair]:
    stored = {
        name: group for name in hdf5.names(file, "layer_names") if (group := _full(file, name))
    }
    layers = [layer for layer in net.layers if layer.weights]
    if len(stored) != len(layers):
        raise UnfitError(f"it has {len(stored)} layers with weights, {net.name} has {len(layers)}")
    # Numbers in automatic names (conv2d_7) depend on what was built before, so names are used only
    # if all match; otherwise the order decides.
    named = stored.keys() == {layer.name for layer in layers}
    groups = [stored[layer.name] for layer in layers] if named else list(stored.values())
    for layer, group in zip(layers, groups, strict=True):
        names = hdf5.names(group, "weight_names")
        # Keras writes trainable weights first, then the others, nested layers included.
        yield from _match(
            layer,
            [*layer.trainable_weights, *layer.non_trainable_weights],
            [_stored(group, name) for name in names],
        )


def _full(file: h5py.File, name: str) -> h5py.Group | None:
    group = hdf5.member(file, name)
    return group if hdf5.names(group, "weight_names") else None


# --- the layout of Keras 3 -----------------------------------------------------------------------


def _nested(parent: h5py.Group, layers: Sequence[keras.Layer]) -> Iterator[Pair]:
    full = [(key, layer) for key, layer in _keys(layers) if layer.weights]
    by_name = dict(_named_groups(parent))
    named = all(layer.name in by_name for _, layer in full)
    for key, layer in full:
        group = by_name[layer.name] if named else hdf5.member(parent, key)
        own = [*layer._trainable_variables, *layer._non_trainable_variables]
        values = hdf5.member(group, "vars")
        yield from _match(layer, own, [_stored(values, str(i)) for i in range(len(values))])
        if isinstance(layer, keras.Model):
            yield from _nested(hdf5.member(group, "layers"), layer.layers)
        else:
            inside = layer._flatten_layers(include_self=False, recursive=False)
            yield from _nested(group, list(inside))


def _keys(layers: Sequence[keras.Layer]) -> Iterator[tuple[str, keras.Layer]]:
    """Yield each layer with the name of its group: its class in snake case, numbered."""
    seen: Counter[str] = Counter()
    for layer in layers:
        key = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
        key = re.sub(r"([a-z])([A-Z])", r"\1_\2", key).lower()
        yield f"{key}_{seen[key]}" if seen[key] else key, layer
        seen[key] += 1


def _named_groups(parent: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    for key in parent:
        group = hdf5.member(parent, key)
        if isinstance(group, h5py.Group) and "vars" in group:
            name = hdf5.member(group, "vars").attrs.get("name")
            if name is not None:
                yield str(name), group


# --- both ----------------------------------------------------------------------------------------


def _match(
    layer: keras.Layer, variables: Sequence[keras.Variable], stored: Sequence[Stored]
) -> Iterator[Pair]:
    if len(variables) != len(stored):
        raise UnfitError(
            f"layer {layer.name} needs {len(variables)} weights, the file has {len(stored)}"
        )
    for variable, value in zip(variables, stored, strict=True):
        yield variable, f"{layer.name}/{variable.name}", value


def _stored(group: h5py.Group, path: str) -> Stored:
    found = hdf5.stored(group, path)
    return Stored(path, found.shape, found.data.dtype.kind == "f", lambda: found.data[()])
