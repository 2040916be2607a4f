"""Translate a Keras functional graph into a torch module that computes the same.

The graph is read once and becomes a flat list of calls; a sub-model becomes a module of its own,
made once however often it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fs_executor_torch.fallback import Fallback
from fs_executor_torch.layers import lower_layer
from fs_executor_torch.options import FastOptions
from fs_executor_torch.rewriting import (
    Call,
    Slot,
    activate_late,
    merge_sides,
    note_drops,
    slots,
    write_over,
)

#: Key of a part: the id of the Keras object, and whether its calls are plain (see `_plain`).
Key = tuple[int, bool]


class LoweredModel(nn.Module):
    """A Keras functional model as torch operations.

    Its parts are its children, by the names of the Keras layers (with what torch allows in names).
    ``forward`` takes and returns flat lists; tensors of rank 4 are ``(n, c, h, w)`` on both sides.

    Args:
        model: a built functional model.
        options: how to run it.
        known: parts that were lowered already.
    """

    def __init__(self, model: Any, options: FastOptions, known: dict[Key, nn.Module]) -> None:
        super().__init__()
        self._names: dict[Key, str] = {}
        self._options = options
        numbers = {id(tensor): number for number, tensor in enumerate(model.inputs)}
        calls = [self._call(node, numbers, known) for node in _in_order(model)]
        self._outputs = tuple(numbers[id(tensor)] for tensor in model.outputs)
        if options.merge_sides:
            calls = merge_sides(calls, self._mergeable)
        calls = activate_late(calls, self.get_submodule, self._outputs)
        calls = write_over(calls, self.get_submodule, self._outputs)
        self._calls = note_drops(calls, self._outputs)

    def _call(self, node: Any, numbers: dict[int, int], known: dict[Key, nn.Module]) -> Call:
        def slot(value: Any) -> Any:
            return Slot(numbers[id(value)]) if isinstance(value, keras.KerasTensor) else value

        args, kwargs = node.arguments.convert(slot)
        name = self._part(node, known)
        for tensor in node.outputs:
            numbers.setdefault(id(tensor), len(numbers))
        results = tuple(numbers[id(tensor)] for tensor in node.outputs)
        part = self.get_submodule(name)
        if isinstance(part, LoweredModel):
            args = tuple(slots((args, kwargs)))
        return Call(name, (args,), (kwargs if isinstance(part, Fallback) else {},), (results,))

    def _part(self, node: Any, known: dict[Key, nn.Module]) -> str:
        key = (id(node.operation), _plain(node))
        if key not in self._names:
            if key not in known:
                known[key] = self._lower(node, known)
            name = _free_name(self, node.operation.name)
            self.add_module(name, known[key])
            self._names[key] = name
        return self._names[key]

    def _lower(self, node: Any, known: dict[Key, nn.Module]) -> nn.Module:
        operation = node.operation
        graph = graph_of(operation)
        if graph is not None:
            return LoweredModel(graph, self._options, known)
        lowered = lower_layer(operation) if _plain(node) else None
        return Fallback(operation) if lowered is None else lowered

    def _mergeable(self, name: str) -> bool:
        part = self.get_submodule(name)
        return isinstance(part, LoweredModel) and not (part.batch_statistics or part.random)

    @property
    def batch_statistics(self) -> bool:
        """Whether any layer inside uses batch statistics; see `Lowered`."""
        return any(part.batch_statistics for part in self.children())

    @property
    def random(self) -> bool:
        """Whether any layer inside draws random numbers."""
        return any(part.random for part in self.children())

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        values: dict[int, Tensor] = dict(enumerate(inputs))
        for call in self._calls:
            part = getattr(self, call.part)
            if len(call.results) > 1:
                self._run_merged(part, call, values)
            else:
                args, kwargs = _filled((call.args[0], call.kwargs[0]), values)
                for number, tensor in zip(
                    call.results[0], self._run(part, args, kwargs), strict=True
                ):
                    values[number] = tensor
            for number in call.drops:
                del values[number]
        return [values[number] for number in self._outputs]

    def _run_merged(self, part: nn.Module, call: Call, values: dict[int, Tensor]) -> None:
        each = [_filled(args, values) for args in call.args]
        sizes = [tensors[0].shape[0] for tensors in each]
        together = [torch.cat(tensors) for tensors in zip(*each, strict=True)]
        for position, tensor in enumerate(self._run(part, together, {})):
            for results, piece in zip(call.results, tensor.split(sizes), strict=True):
                values[results[position]] = piece

    def _run(self, part: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
        again = self._options.checkpointing and self.training and torch.is_grad_enabled()
        if again and isinstance(part, LoweredModel) and not part.batch_statistics:
            tensors: list[Tensor] = checkpoint(part, *args, use_reentrant=False)
            return tensors
        result = part(*args, **kwargs)
        tensors = [result] if isinstance(result, Tensor) else keras.tree.flatten(result)
        return tensors


def graph_of(model: Any) -> Any:
    """Return the graph of a plain functional or sequential model; None for anything else.

    Keras passes masks along with its tensors. They would be lost here, so None is returned for
    models with layers that make masks.
    """
    kind = type(model)
    if kind is keras.Sequential:
        model = model._functional
    elif kind.__name__ != "Functional" or not kind.__module__.startswith("keras."):
        return None
    masking = (keras.layers.Masking, keras.layers.Embedding)
    return None if any(isinstance(layer, masking) for layer in model.layers) else model


def _plain(node: Any) -> bool:
    """Return whether the only argument is a tensor, or a list of tensors of one rank."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    # Keras stores "training" with each node but sets it again at each call, so it is ignored.
    if len(args) != 1 or any(v is not None for k, v in kwargs.items() if k != "training"):
        return False
    tensors = args[0] if isinstance(args[0], list | tuple) else [args[0]]
    if not all(isinstance(tensor, keras.KerasTensor) for tensor in tensors):
        return False
    return len({len(tensor.shape) for tensor in tensors}) == 1


def _in_order(model: Any) -> list[Any]:
    """Return the nodes of a graph in an order in which they can be computed."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = (node for depth in depths for node in model._nodes_by_depth[depth])
    return [node for node in nodes if not node.is_input]


def _filled(structure: Any, values: dict[int, Tensor]) -> Any:
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, list | tuple):
        return [_filled(item, values) for item in structure]
    if isinstance(structure, dict):
        return {key: _filled(value, values) for key, value in structure.items()}
    return structure


def _free_name(module: nn.Module, name: str) -> str:
    """Return a name that torch allows for a child: without dots, and not yet an attribute."""
    name = name.replace(".", ":")
    while hasattr(module, name):
        name += "_"
    return name
