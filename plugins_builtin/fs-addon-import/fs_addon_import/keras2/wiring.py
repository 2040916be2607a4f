"""Call the layers of a model in the order in which their inputs become available.

A tensor is (layer, number of the call, number of the output). Call 0 of a nested model is the one
that created it, so calls in the model around it count from 1.
"""

from __future__ import annotations

import graphlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fs_kernel.errors import ModelFolderError

#: Classes of models that are graphs.
MODELS = ("Functional", "Model", "Network")
#: Largest output of one layer, in numbers per face.
MAX_NUMBERS = 2**30

Entry = Mapping[str, Any]
#: A layer's name and the number of the call.
Call = tuple[str, int]


class Wiring:
    """Calls the layers of one model, each as soon as its inputs exist.

    Args:
        entries: the model's layers.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.apply: dict[str, Callable[..., Any]] = {}
        self._first = {entry["name"]: _first_call(entry) for entry in entries}
        self._nodes: dict[Call, tuple[list[Any], dict[str, Any]]] = {}
        self._outputs: dict[Call, list[Any]] = {}
        for entry in entries:
            # An input is not called, but its tensor counts as the result of a call.
            nodes = entry["inbound_nodes"] or [[]]
            for number, node in enumerate(nodes):
                self._nodes[entry["name"], number] = _arguments(node)

    def run(self) -> None:
        """Make all calls.

        Raises:
            ModelFolderError: the graph has a cycle, or a layer takes a tensor that no layer gives.
        """
        needs = {
            call: {self._call(ref) for ref in _references([args, *kwargs.values()])}
            for call, (args, kwargs) in self._nodes.items()
        }
        for missing in set(itertools.chain(*needs.values())) - needs.keys():
            raise ModelFolderError(f"a layer in it takes call {missing[1]} of '{missing[0]}'")
        try:
            order = list(graphlib.TopologicalSorter(needs).static_order())
        except graphlib.CycleError:
            raise ModelFolderError("the layers in it feed each other in a circle") from None
        for call in order:
            args, kwargs = self._nodes[call]
            operands = [self._value(arg) for arg in args]
            named = {key: self._value(value) for key, value in kwargs.items()}
            given = self.apply[call[0]](operands, named)
            self._outputs[call] = list(given) if isinstance(given, list | tuple) else [given]
            if any(_size(tensor) > MAX_NUMBERS for tensor in self._outputs[call]):
                raise ModelFolderError(f"layer '{call[0]}' gives more numbers than any known one")

    def tensors(self, nested: Any) -> list[Any]:
        """Return the tensors of ``input_layers`` or ``output_layers``, which may be nested."""
        return [self._value(ref) for ref in _references(nested)]

    def _call(self, reference: Sequence[Any]) -> Call:
        name, number = reference[0], reference[1]
        return name, number - self._first.get(name, 0)

    def _value(self, item: Any) -> Any:
        """Return the tensor of a reference, and anything else unchanged."""
        if not _is_reference(item):
            return item
        outputs = self._outputs.get(self._call(item))
        if outputs is None or not 0 <= item[2] < len(outputs):
            raise ModelFolderError(f"a layer in it takes {item[:3]}, which is not there")
        return outputs[item[2]]


def _size(tensor: Any) -> int:
    """Return how many numbers a tensor has per face; unknown axes count as 1."""
    return math.prod(size or 1 for size in tensor.shape[1:])


def _first_call(entry: Entry) -> int:
    """Return the number of a layer's first call."""
    if entry["class_name"] in MODELS:
        return 1
    inside = entry["config"].get("layers") or [{}]
    return int(entry["class_name"] == "Sequential" and inside[0].get("class_name") == "InputLayer")


def _arguments(node: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments of one call."""
    items = [node] if node and isinstance(node[0], str) else list(node)
    named: dict[str, Any] = next((item[3] for item in items if len(item) > 3), {})
    args = [item[2] if item[0] == "_CONSTANT_VALUE" else item for item in items]
    return args, dict(named)


def _is_reference(item: Any) -> bool:
    return isinstance(item, list) and len(item) in (3, 4) and isinstance(item[0], str)


def _references(nested: Any) -> Iterator[list[Any]]:
    """Yield all references in nested lists."""
    if _is_reference(nested):
        yield nested
    elif isinstance(nested, list):
        for item in nested:
            yield from _references(item)
