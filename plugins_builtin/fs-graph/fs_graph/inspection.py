"""Check every object of a graph before Keras sees any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fs_graph import allowed
from fs_graph.errors import GraphError

MAX_DEPTH = 100
#: Layers and calls of layers together. The largest network of keras.applications has about 2,100;
#: Keras takes about ten milliseconds for each, and longer the more there are.
MAX_LAYERS = 5_000
#: Calls on what a later layer of the file gives. Keras writes layers in the order of the graph, so
#: only layers used in turns have such calls; for each, Keras may go through all layers once more.
MAX_BACKWARD = 50
_STRUCTURE = frozenset(["__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__"])
_MARKERS = ("__lambda__", "__numpy__", "__tensor__", "__typespec__", "__bytes__")
_CONSTANTS = ("__numpy__", "__tensor__", "__bytes__")


def inspect(node: Any, custom: Mapping[str, type]) -> None:
    """Check every object of a graph before anything is made from it.

    Args:
        node: of parsed JSON.
        custom: classes beyond plain Keras that it may hold, by name.

    Raises:
        GraphError: for the first object that may not be there.
    """
    _Inspection(custom).check(node)


class _Inspection:
    """Checks every object of one graph, and counts its layers."""

    def __init__(self, custom: Mapping[str, type]) -> None:
        self._custom = custom
        self._layers = 0
        self._backward = 0

    def check(self, node: Any, path: tuple[str, ...] = (), key: str = "", depth: int = 0) -> None:
        """Check a node and everything below it.

        Args:
            node: of parsed JSON.
            path: names of the models and layers around it.
            key: what it is called in the node around it.
            depth: how many nodes are around it.
        """
        if depth > MAX_DEPTH:
            raise _refused(f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, list):
            for item in node:
                self.check(item, path, key, depth + 1)
        elif isinstance(node, dict):
            if "class_name" in node:
                path = (*path, *_name_of(node))
                self._check_class(node, path, key)
            elif _is_code(node):
                raise _function("a lambda", path, key)
            for name, value in node.items():
                if name in _MARKERS:
                    raise _refused(f"holds a {name} object", _layer(path))
                self.check(value, path, name, depth + 1)

    def _count(self, number: int) -> None:
        self._layers += number
        if self._layers > MAX_LAYERS:
            raise _refused(f"has more than {MAX_LAYERS} layers and calls of layers")

    def _check_class(self, node: dict[str, Any], path: tuple[str, ...], key: str) -> None:
        name, module = node["class_name"], node.get("module")
        registered = node.get("registered_name")
        if not isinstance(name, str):
            raise _refused("holds a class_name that is not text", _layer(path))
        if name in _STRUCTURE:
            return
        own = self._custom.get(name)
        if allowed.holds_code(name, module, own):
            raise _refused(
                f"holds a {name} layer, whose configuration is code that is not run, "
                "whatever custom_objects names",
                _layer(path),
                f"is a {name}, which cannot be read back from a checkpoint; "
                "write it as a Layer class and name that in custom_objects",
            )
        operation = allowed.is_operation(name, module)
        plain = operation or allowed.is_plain(name, module)
        named = own is not None and allowed.is_named(own, name, module, registered)
        if operation and own is not None and own.__module__ != module:
            # Keras would make an instance of the caller's class instead of the operation.
            raise _unknown(node, path, key, own)
        if not (named or (plain and registered in (None, name))):
            raise _unknown(node, path, key, own)
        self._check_order(node.get("config"))
        if "inbound_nodes" in node:
            self._count(1)
            self._check_calls(node["inbound_nodes"], operation, path)
        elif key == "layers":
            self._count(1)

    def _check_order(self, config: Any) -> None:
        listed = config.get("layers") if isinstance(config, dict) else None
        made = [item for item in listed or () if isinstance(item, dict)]
        if self._layers + len(made) > MAX_LAYERS:
            self._count(len(made))
        waiting = {str(item.get("name")) for item in made}
        for item in made:
            waiting.discard(str(item.get("name")))
            self._backward += sum(name in waiting for name in _sources(item.get("inbound_nodes")))
            if self._backward > MAX_BACKWARD:
                raise _refused("has its layers in an order that takes too long to connect")

    def _check_calls(self, calls: Any, operation: bool, path: tuple[str, ...]) -> None:
        if not isinstance(calls, list):
            raise _refused("holds calls of a layer that are not a list", _layer(path))
        self._count(len(calls))
        # An operation that is called with numbers alone runs while the graph is read, however large
        # its result.
        if operation and not (calls and all(map(_has_tensor, calls))):
            raise _refused("holds an operation that is called without a tensor", _layer(path))


def _refused(problem: str, layer: str = "", mend: str = "") -> GraphError:
    return GraphError(f"{problem}; refused", layer, mend)


def _name_of(node: dict[str, Any]) -> list[str]:
    """Return the name of a layer or model; nothing for other objects, which have none."""
    config = node.get("config")
    inner = config.get("name") if isinstance(config, dict) else None
    found = node.get("name", inner)
    if not isinstance(found, str) or node["class_name"] == "DTypePolicy":
        return []
    return [found]


def _layer(path: tuple[str, ...]) -> str:
    return "/".join(path[1:] or path)


def _is_code(node: dict[str, Any]) -> bool:
    """Return whether this is what Keras makes of a lambda that is an activation."""
    value = node.get("value")
    return (
        len(node) == 1 and isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
    )


def _sources(calls: Any, depth: int = 0) -> Iterator[str]:
    """Yield the names of the layers that calls take their tensors from, in Keras's two formats."""
    if depth > MAX_DEPTH:
        return
    if isinstance(calls, dict):
        history = calls.get("keras_history")
        if isinstance(history, list) and history:
            yield str(history[0])
        calls = [value for key, value in calls.items() if key != "keras_history"]
    elif isinstance(calls, list) and len(calls) > 2 and isinstance(calls[0], str):
        yield calls[0]
    if isinstance(calls, list):
        for item in calls:
            yield from _sources(item, depth + 1)


def _has_tensor(call: Any, depth: int = 0) -> bool:
    if depth > MAX_DEPTH:
        return False
    if isinstance(call, dict):
        if call.get("class_name") == "__keras_tensor__":
            return True
        call = list(call.values())
    return isinstance(call, list) and any(_has_tensor(item, depth + 1) for item in call)


def _function(what: str, path: tuple[str, ...], key: str, text: str | None = None) -> GraphError:
    return _refused(
        text or "holds a __lambda__ object",
        _layer(path),
        f"has {what} as its {key or 'argument'}, which cannot be read back from a checkpoint; "
        'name a function of Keras as text ("relu"), or write a Layer class and name it in '
        "custom_objects",
    )


def _unknown(node: dict[str, Any], path: tuple[str, ...], key: str, own: type | None) -> GraphError:
    name, module = node["class_name"], node.get("module")
    problem = (
        f"holds an object of class {module}.{name}, which is neither plain Keras nor named in "
        "custom_objects"
    )
    if name == "function":
        return _function(f"the function '{node.get('config')}'", path, key, problem)
    if name == "__lambda__":
        return _function("a lambda", path, key, problem)
    if name in _CONSTANTS:
        mend = (
            "is given a constant array, which cannot be read back from a checkpoint; give a "
            "number, or write a Layer class that has it as a weight"
        )
    elif own is None and str(module).startswith(allowed.OPS):
        mend = (
            f"is the operation {name}, which takes a function and cannot be read back from a "
            "checkpoint; write a Layer class that calls it and name that in custom_objects"
        )
    elif own is not None:
        mend = (
            f"is of class {module}.{name}, but custom_objects names another class '{name}' "
            f"({own.__module__}); rename one of them"
        )
    else:
        mend = (
            f"is of class {module}.{name}, which could not be read back from a checkpoint; "
            f'name it in custom_objects: {{"{name}": {name}}}'
        )
        if not _is_layer_name(node, path):
            mend = f"has a {key} of class {mend.removeprefix('is of class ')}"
    return _refused(problem, _layer(path), mend)


def _is_layer_name(node: dict[str, Any], path: tuple[str, ...]) -> bool:
    return bool(path) and _name_of(node) == [path[-1]]
