"""Store nested state (a pytree) as a JSON skeleton plus tensors: no checkpoint file is a pickle.

A tree is made of dicts with text keys, lists, tuples (read back as lists), torch tensors, numpy
arrays and JSON scalars. Floats that JSON lacks (nan, inf) are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fs_kernel import backend
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage.tensors import require_kept
from fs_kernel.types import DeferredTensor, Tree

_TENSOR, _ARRAY, _FLOAT = "$tensor", "$array", "$float"


def cpu_copy(tensor: Any) -> Any:
    """Return a contiguous copy on the CPU, without its graph: training may continue."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def pack(tree: Tree, copy: Callable[[Any], Any] | None = None) -> tuple[Any, dict[str, Any]]:
    """Split a tree into a JSON skeleton and its tensors.

    Args:
        tree: the tree.
        copy: makes a contiguous CPU copy of a tensor; `cpu_copy` if None.

    Returns:
        The skeleton, and contiguous CPU copies of its tensors by their path in the tree; a
        `fs_kernel.types.DeferredTensor` stays as it is, see `materialize`.

    Raises:
        TypeError: the tree holds something a checkpoint cannot.
    """
    torch = backend.torch()
    tensors: dict[str, Any] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, torch.Tensor | np.ndarray | DeferredTensor):
            # Keys may hold slashes, so two places can spell one path.
            while path in tensors:
                path += "'"
            if isinstance(node, np.ndarray):
                tensors[path] = require_kept(torch.from_numpy(np.array(node, order="C")), path)
                return {_ARRAY: path}
            tensor = isinstance(node, torch.Tensor)
            tensors[path] = (copy or cpu_copy)(require_kept(node, path)) if tensor else node
            return {_TENSOR: path}
        if isinstance(node, Mapping):
            if bad := [k for k in node if not isinstance(k, str) or k.startswith("$")]:
                raise TypeError(f"{path or 'the tree'}: {bad[0]!r} cannot be a key")
            return {key: walk(value, f"{path}/{key}") for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [walk(value, f"{path}/{i}") for i, value in enumerate(node)]
        if isinstance(node, np.integer | np.floating | np.bool_):
            node = node.item()
        if isinstance(node, float) and not math.isfinite(node):
            return {_FLOAT: str(node)}
        if node is None or isinstance(node, bool | int | float | str):
            return node
        raise TypeError(f"{path}: a checkpoint cannot hold a {type(node).__name__}")

    return walk(tree, ""), tensors


def materialize(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of `pack`, deferred ones computed."""
    return {path: _materialized(tensor) for path, tensor in tensors.items()}


def _materialized(tensor: Any) -> Any:
    return tensor.tensor() if isinstance(tensor, DeferredTensor) else tensor


def unpack(skeleton: Any, tensors: Mapping[str, Any], source: str) -> Tree:
    """Return the tree that `pack` split.

    Raises:
        ModelFolderError: the skeleton names a tensor that is not there.
    """

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if len(node) == 1:
                key, value = next(iter(node.items()))
                if key == _FLOAT and value in ("nan", "inf", "-inf"):
                    return float(value)
                if key == _FLOAT:
                    raise ModelFolderError(f"{source} holds {value!r} as a number")
                if key in (_TENSOR, _ARRAY):
                    if not isinstance(value, str) or value not in tensors:
                        raise ModelFolderError(f"{source} lacks the tensor {value}")
                    found = _materialized(tensors[value])
                    return found if key == _TENSOR else found.numpy()
            return {key: walk(value) for key, value in node.items()}
        return [walk(value) for value in node] if isinstance(node, list) else node

    try:
        return walk(skeleton)
    except RecursionError:
        raise ModelFolderError(f"{source} is nested too deeply") from None
