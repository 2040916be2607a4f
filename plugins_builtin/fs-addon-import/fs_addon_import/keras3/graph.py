"""Check the graph of a Keras 3 file and rewrite it with the classes of this project.

The result is built only from parts that are understood; nothing else is copied. The order of layers
is kept, and the path of each layer's weights in the file is noted: Keras numbers the layers of one
class in the order of the graph.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from fs_kernel.errors import ModelFolderError

from fs_addon_import import transposed
from fs_addon_import.keras3 import layers

_MAX_DEPTH = 60
_MAX_LAYERS = 10_000


@attrs.frozen
class Place:
    """Where one layer is: its path in the network, and its weights' path in the file.

    ``trains`` says whether the layer and all models around it are trainable in the file.
    """

    path: str
    stored: str
    trains: bool


class Rewriter:
    """Rewrites one graph.

    Args:
        dots: replace the dots in names that files of the first versions have.

    Attributes:
        places: of every layer, in the order of the graph, after a call of `root`.
        models: of the root and every model in it.
        arithmetic: number of operations that became layers.
    """

    def __init__(self, dots: bool = False) -> None:
        self._dots = dots
        self.places: list[Place] = []
        self.models: list[Place] = []
        self.arithmetic = 0

    def root(self, node: Any) -> dict[str, Any]:
        """Return the rewritten graph of the whole network.

        Raises:
            ModelFolderError: a part of it is unknown or malformed.
        """
        if not isinstance(node, dict) or node.get("class_name") != "Functional":
            raise ModelFolderError("its root is not a Functional model")
        config = _expect(node.get("config"), dict, "a config")
        return self._functional(config, "", "", True, 0, str(config.get("name", "")))

    def _functional(
        self, config: dict[str, Any], path: str, stored: str, trains: bool, depth: int, name: str
    ) -> dict[str, Any]:
        self.models.append(Place(path, stored, trains))
        listed = _expect(config.get("layers"), list, "a list of layers")
        config = {**config, "layers": listed}
        transposed.split(config, transposed.front_of_old_keras)
        made = {
            "name": self._name(name),
            "trainable": True,
            "layers": self._layers(config["layers"], path, stored, trains, depth),
            "input_layers": _single(self._points(config.get("input_layers")), path),
            "output_layers": _single(self._points(config.get("output_layers")), path),
        }
        return _object("keras.src.models.functional", "Functional", made)

    def _layers(
        self, listed: list[Any], path: str, stored: str, trains: bool, depth: int
    ) -> list[dict[str, Any]]:
        if depth > _MAX_DEPTH:
            raise ModelFolderError("is nested too deeply; refused")
        counts: Counter[str] = Counter()
        made = []
        for node in listed:
            node = _expect(node, dict, "a layer")
            made.append(self._layer(node, path, stored, trains, depth, counts))
        return made

    def _layer(
        self,
        node: dict[str, Any],
        path: str,
        stored: str,
        trains: bool,
        depth: int,
        counts: Counter[str],
    ) -> dict[str, Any]:
        class_name = _expect(node.get("class_name"), str, "a class name")
        config = _expect(node.get("config"), dict, "a config")
        name = _expect(config.get("name", node.get("name")), str, "a name")
        if layers.is_operation(node.get("module"), class_name):
            return self._operation(node, class_name, name)
        trains = trains and config.get("trainable", True) is not False
        count = counts[_snake(class_name)]
        counts[_snake(class_name)] += 1
        below = f"{stored}layers/{_snake(class_name)}{f'_{count}' if count else ''}/"
        inside = f"{path}{self._name(name)}/"
        if class_name == "Functional":
            made = self._functional(config, inside, below, trains, depth + 1, name)
        elif class_name == "Sequential":
            made = self._sequential(config, inside, below, trains, depth + 1, name)
        else:
            self.places.append(Place(inside, below, trains))
            if len(self.places) > _MAX_LAYERS:
                raise ModelFolderError(f"has more than {_MAX_LAYERS} layers; refused")
            made = self._plain(node, class_name, {**config, "name": name})
        made["name"] = self._name(name)
        made["inbound_nodes"] = self._nodes(node.get("inbound_nodes", []))
        return made

    def _sequential(
        self, config: dict[str, Any], path: str, stored: str, trains: bool, depth: int, name: str
    ) -> dict[str, Any]:
        self.models.append(Place(path, stored, trains))
        listed = _expect(config.get("layers"), list, "a list of layers")
        inputs = [n for n in listed if isinstance(n, dict) and n.get("class_name") == "InputLayer"]
        if any(transposed.is_ambiguous(node) for node in listed):
            raise ModelFolderError(f"'{name}' holds a transposed convolution, which is not known")
        # Keras does not count the input of a Sequential when it numbers layers.
        rest = [n for n in listed if n not in inputs]
        made_inputs = Rewriter(self._dots)._layers(inputs, path, stored, trains, depth)
        made = made_inputs + self._layers(rest, path, stored, trains, depth)
        for layer in made:
            layer.pop("inbound_nodes", None)
        settings: dict[str, Any] = {"name": self._name(name), "trainable": True, "layers": made}
        if "build_input_shape" in config:
            settings["build_input_shape"] = config["build_input_shape"]
        return _object("keras.src.models.sequential", "Sequential", settings)

    def _plain(
        self, node: dict[str, Any], class_name: str, config: dict[str, Any]
    ) -> dict[str, Any]:
        module = node.get("module")
        if layers.is_foreign(module):
            module, class_name, config = layers.translate(class_name, config)
        elif not isinstance(module, str) or module.split(".")[0] != "keras":
            raise ModelFolderError(f"holds an object of class {module}.{class_name}; refused")
        if class_name == "InputLayer":
            config = {k: config[k] for k in ("batch_shape", "dtype", "name") if k in config}
        elif "trainable" in config:
            config["trainable"] = True
        config = {
            key: self._value(value, 0)
            for key, value in config.items()
            if not (key == "quantization_config" and value is None)
        }
        config["name"] = self._name(config["name"])
        if class_name != "InputLayer":
            config["dtype"] = _policy(config.get("dtype"))
        return _object(module, class_name, config)

    def _operation(self, node: dict[str, Any], class_name: str, name: str) -> dict[str, Any]:
        """Return arithmetic as a layer: ``Rescaling`` with a number, else a merging layer."""
        nodes = _expect(node.get("inbound_nodes"), list, "inbound nodes")
        if not nodes:
            raise ModelFolderError(f"'{name}' is called nowhere")
        values, inbound = [], []
        for call in nodes:
            args = _expect(_expect(call, dict, "a node").get("args"), list, "arguments")
            given = [*args, *dict(call.get("kwargs") or {}).values()]
            tensors = [a for a in given if _is_tensor(a)]
            values.append([a for a in given if not _is_tensor(a)])
            inbound.append(tensors)
        config: dict[str, Any] = {"name": name, "trainable": True}
        if all(len(t) == 1 and len(v) == 1 for t, v in zip(inbound, values, strict=True)):
            numbers = {str(v[0]) for v in values}
            first = nodes[0]["args"]
            turned = not (first and _is_tensor(first[0]))
            if len(numbers) > 1 or (turned and class_name not in ("Add", "Multiply")):
                raise ModelFolderError(f"'{name}' is arithmetic of a kind that is not known here")
            made = layers.rescaling(config, layers.operation(class_name), values[0][0])
            calls = [{"args": [self._value(t[0], 0)], "kwargs": {}} for t in inbound]
        elif class_name in ("Add", "Subtract", "Multiply") and all(
            len(t) == 2 and not v for t, v in zip(inbound, values, strict=True)
        ):
            made = ("keras.layers", class_name, config)
            calls = [
                {"args": [[self._value(t, 0) for t in pair]], "kwargs": {}} for pair in inbound
            ]
        else:
            raise ModelFolderError(f"'{name}' is arithmetic of a kind that is not known here")
        module, target, settings = made
        settings["name"], settings["dtype"] = self._name(name), _policy(None)
        self.arithmetic += 1
        made_object = _object(module, target, settings)
        return {**made_object, "name": settings["name"], "inbound_nodes": calls}

    # --- values ---

    def _nodes(self, nodes: Any) -> list[dict[str, Any]]:
        made = []
        for call in _expect(nodes, list, "inbound nodes"):
            call = _expect(call, dict, "a node")
            args = _expect(call.get("args", []), list, "arguments")
            kwargs = _expect(call.get("kwargs") or {}, dict, "arguments")
            kept = {k: v for k, v in kwargs.items() if v is not None and k != "training"}
            made.append({"args": self._value(args, 0), "kwargs": self._value(kept, 0)})
        return made

    def _value(self, value: Any, depth: int) -> Any:
        """Return a checked value of a config: a number, text, a list or a known object."""
        if depth > _MAX_DEPTH:
            raise ModelFolderError("is nested too deeply; refused")
        if isinstance(value, list):
            return [self._value(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        if _is_tensor(value):
            return self._tensor(value)
        if "class_name" not in value:
            return {str(k): self._value(v, depth + 1) for k, v in value.items()}
        name = _expect(value["class_name"], str, "a class name")
        config = value.get("config")
        module = value.get("module")
        if layers.is_foreign(module):
            name, config = layers.initializer(name, _expect(config, dict, "a config"))
            module = "fs_nn.initializers"
        elif module is not None and str(module).split(".")[0] not in ("keras", "builtins"):
            raise ModelFolderError(f"holds an object of class {module}.{name}; refused")
        return _object(module, name, self._value(config, depth + 1))

    def _tensor(self, value: dict[str, Any]) -> dict[str, Any]:
        config = _expect(value.get("config"), dict, "a tensor")
        (point,) = self._points([config.get("keras_history")])
        kept = {"shape": config.get("shape"), "dtype": "float32", "keras_history": point}
        return {"class_name": "__keras_tensor__", "config": kept}

    def _points(self, points: Any) -> Any:
        """Return nested ``[name, node, tensor]`` lists as one flat list of them."""
        found = [self._point(point) for point in _flat(points, 0)]
        if not found:
            raise ModelFolderError("names no inputs or outputs")
        return found

    def _point(self, point: list[Any]) -> list[Any]:
        name, node, tensor = point
        if not isinstance(node, int) or not isinstance(tensor, int) or node < 0 or tensor < 0:
            raise ModelFolderError(f"points to {str(point)[:80]}, which is not a tensor")
        return [self._name(name), node, tensor]

    def _name(self, name: Any) -> str:
        known: str = _expect(name, str, "a name")
        return known.replace(".", "_") if self._dots else known


def _single(points: list[Any], path: str) -> Any:
    """Return a lone tensor of a sub-model without its list; the root always has lists."""
    return points[0] if path and len(points) == 1 else points


def _flat(points: Any, depth: int) -> Iterator[list[Any]]:
    if depth > 4 or not isinstance(points, list):
        raise ModelFolderError("names its tensors in a way that is not known here")
    if len(points) == 3 and isinstance(points[0], str):
        yield points
    else:
        for point in points:
            yield from _flat(point, depth + 1)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _object(module: Any, class_name: str, config: Any) -> dict[str, Any]:
    plain = module is None or str(module).startswith("keras.layers")
    registered = None if plain or not str(module).startswith("fs_nn") else class_name
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": registered,
    }


def _policy(dtype: Any) -> dict[str, Any]:
    """Return a layer's dtype policy, which files write as a name or as an object."""
    if isinstance(dtype, Mapping):
        dtype = _expect(dtype.get("config"), Mapping, "a number format").get("name")
    if dtype not in (None, "float32", "mixed_float16", "mixed_bfloat16"):
        raise ModelFolderError(f"holds a layer that computes in {str(dtype)[:40]}; refused")
    return _object("keras", "DTypePolicy", {"name": dtype or "float32"})


def _expect(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise ModelFolderError(f"holds {str(value)[:60]!r} where {what} should be")
    return value


def _snake(name: str) -> str:
    """Return a class name as Keras writes it in the paths of a weights file."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
