"""List and freeze weights of a Keras layer or model, or of a plain `torch.nn.Module`.

A Keras network's are named as in `fs_graph.names`; torch's ``parameters()`` is not used for it,
because of two sub-models with equal layer names one vanishes from there. A plain module's have
torch's own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import keras

from fs_graph.names import layers, variables

if TYPE_CHECKING:
    import torch

#: Which weights of a torch module `freeze` froze: its owner may have frozen others.
_frozen_by_us: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()


def _is_keras(root: Any) -> bool:
    # On this backend a Keras layer is a torch module too.
    return isinstance(root, keras.Layer)


def tensors(root: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the weights by name, saved buffers of a module too; each has its first name alone.

    Args:
        root: the network.
        prefix: begins every name.
    """
    if _is_keras(root):
        return {name: v._value for name, v in variables(root, prefix).items()}
    modules = list(root.modules())
    unsaved = {id(m._buffers[name]) for m in modules for name in m._non_persistent_buffers_set}
    buffers = [(name, each) for name, each in root.named_buffers() if id(each) not in unsaved]
    return {f"{prefix}{name}": each for name, each in (*root.named_parameters(), *buffers)}


def trained(root: Any) -> set[int]:
    """Return the identities of the tensors that train: neither they nor a layer is frozen."""
    if not _is_keras(root):
        return {id(parameter) for parameter in root.parameters() if parameter.requires_grad}
    frozen = [layer for _, layer in layers(root) if not layer.trainable]
    still = {id(variable) for layer in frozen for variable in layer.variables}
    return {id(v._value) for v in root.trainable_variables if id(v) not in still}


def unbuilt(root: Any) -> list[str]:
    """Return the names of layers or weights whose shape is not known yet."""
    if _is_keras(root):
        return [layer.name for _, layer in layers(root) if not layer.built]
    from torch.nn.parameter import is_lazy

    named = (*root.named_parameters(), *root.named_buffers())
    return [name for name, tensor in named if is_lazy(tensor)]


def freeze(root: Any, frozen: bool) -> None:
    """Freeze or unfreeze a network; weights that other code froze in a module stay frozen."""
    if _is_keras(root):
        if root.trainable == frozen:
            root.trainable = not frozen
        return
    ours = _frozen_by_us.get(root, [])
    changing = [p for p in root.parameters() if p.requires_grad] if frozen else ours
    for parameter in changing:
        parameter.requires_grad_(not frozen)
    _frozen_by_us[root] = [*ours, *changing] if frozen else []
