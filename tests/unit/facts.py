"""Hold a built network against the facts of ``tests/data/model_facts/*.json``, layer by layer.

A test of a model plugin is ``assert differences(network, facts) == []``; each difference is one
line that says where. The keys of the facts are: per layer ``n`` name, ``c`` class, ``o`` output
shape or shapes without the batch, ``p`` parameters, ``trainable`` those that train (if fewer),
``w`` weights as [name, shape], ``a`` attributes, ``i`` kernel initialiser, ``in`` for each call of
the layer the layers whose results it was given; layers stand in the order of the graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
from fs_kernel.types import Network

DATA = Path(__file__).parents[1] / "data" / "model_facts"


def load_facts(name: str) -> dict[str, dict[str, Any]]:
    """The configurations of the network ``name``, by their name."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def differences(network: Network, facts: dict[str, Any]) -> list[str]:
    """What a network has otherwise than the facts say, one line each."""
    model = network.model
    subs = {layer.name: layer for layer in model.layers if isinstance(layer, keras.Model)}
    lines = [
        *_compare("model name", model.name, facts["keras_model_name"]),
        *_compare("total", model.count_params(), facts["total"]),
        *_compare("sub-models", {n: s.count_params() for n, s in subs.items()}, facts["subs"]),
        *_compare("color order", network.color_order, facts["color_order"]),
        *_compare("input shapes", _shapes(model.inputs), _inputs(facts)),
        *_compare("output shapes", _shapes(model.outputs), facts["output_shapes"]),
        *_compare("output sizes", [o.size for o in network.outputs], _sizes(facts)),
        *_compare("output producers", _producers_of_outputs(model), facts["output_producers"]),
        *_layers("top", model, facts["top_layers"]),
    ]
    for name, expected in facts["sub_models"].items():
        if name in subs:
            named = [
                [t._keras_history.operation.name, list(t.shape[1:])] for t in subs[name].outputs
            ]
            lines += _compare(f"{name} outputs", named, expected["outputs"])
            lines += _layers(name, subs[name], expected["layers"])
    return lines


def describe_layer(layer: Any, calls: list[list[str]], attributes: Any = ()) -> dict[str, Any]:
    """A layer in the words of the facts.

    Args:
        layer: the layer.
        calls: per call the names of the layers it was given.
        attributes: names of the attributes to tell.
    """
    outputs = keras.tree.flatten(layer.output)
    shapes = _shapes(outputs)
    told: dict[str, Any] = {
        "n": layer.name,
        "c": type(layer).__name__,
        "o": shapes[0] if len(shapes) == 1 else shapes,
        "p": layer.count_params(),
        "in": calls,
    }
    if not isinstance(layer, keras.Model) and layer.weights:
        told["w"] = [[v.name, list(v.shape)] for v in layer.weights]
    trainable = sum(v._value.numel() for v in layer.trainable_variables)
    if trainable != told["p"]:
        told["trainable"] = trainable
    if attributes:
        told["a"] = {name: _plain(getattr(layer, name)) for name in attributes}
    initializer = getattr(layer, "kernel_initializer", None) or getattr(
        layer, "depthwise_initializer", None
    )
    if initializer is not None:
        told["i"] = _initializer(initializer)
    return told


def _layers(where: str, model: Any, expected: list[dict[str, Any]]) -> Iterator[str]:
    config = model.get_config()
    built = [(entry["name"], _calls(entry)) for entry in config["layers"]]
    yield from _compare(f"{where} layers", [n for n, _ in built], [e["n"] for e in expected])
    known = dict(built)
    for fact in expected:
        if fact["n"] not in known:
            continue
        layer = model.get_layer(fact["n"])
        told = describe_layer(layer, known[fact["n"]], fact.get("a", {}))
        for key in sorted(told.keys() | fact.keys()):
            yield from _compare(f"{where}/{fact['n']} {key}", told.get(key), fact.get(key))


def _calls(entry: dict[str, Any]) -> list[list[str]]:
    return [list(_histories(node)) for node in entry["inbound_nodes"]]


def _histories(node: Any) -> Iterator[str]:
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        yield node["config"]["keras_history"][0]
    elif isinstance(node, dict):
        for value in node.values():
            yield from _histories(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _histories(value)


def _producers_of_outputs(model: Any) -> list[list[Any]]:
    histories = [tensor._keras_history for tensor in model.outputs]
    return [[h.operation.name, h.tensor_index] for h in histories]


def _inputs(facts: dict[str, Any]) -> list[list[int]]:
    inputs = [layer for layer in facts["top_layers"] if layer["c"] == "InputLayer"]
    return [facts["input_shape"]] * len(inputs)


def _sizes(facts: dict[str, Any]) -> list[int]:
    return [shape[1] for shape in facts["output_shapes"]]


def _shapes(tensors: Any) -> list[list[int]]:
    return [list(tensor.shape[1:]) for tensor in tensors]


def _initializer(initializer: Any) -> Any:
    name = type(initializer).__name__
    if name in ("HeUniform", "HeNormal", "GlorotUniform"):
        return name
    # Newer versions of Keras have more arguments, None by default.
    config = {k: v for k, v in initializer.get_config().items() if k != "seed" and v is not None}
    return {"class": name, **config}


def _plain(value: Any) -> Any:
    if callable(value):
        return value.__name__
    return list(value) if isinstance(value, tuple) else value


def _compare(where: str, built: Any, expected: Any) -> Iterator[str]:
    if built != expected and not _close(built, expected):
        yield f"{where}: {built!r}, expected {expected!r}"


def _close(built: Any, expected: Any) -> bool:
    """Attributes such as a slope may come back from float32."""
    if isinstance(built, dict) and isinstance(expected, dict) and built.keys() == expected.keys():
        return all(v == expected[k] or _close(v, expected[k]) for k, v in built.items())
    return (
        isinstance(built, float)
        and isinstance(expected, (int, float))
        and abs(built - expected) < 1e-6
    )
