"""Operations of `keras.ops` in a graph: plain ones are read back, nothing else comes with them."""

from __future__ import annotations

import copy
import importlib
import time

import fs_graph
import keras
import pytest
import torch
from fs_graph import GraphError, allowed, inspection
from keras import ops
from small_models import graph_of, one_layer, with_sub_models


def centered(x):
    return x - ops.mean(x, axis=(1, 2), keepdims=True)


CALLS = {
    "numpy": centered,
    "numbers": lambda x: 2 * x / (1 + abs(x)) ** 2,
    "slices": lambda x: ops.concatenate([x[..., 1:], x[:, :, :, :1]], axis=-1),
    "where": lambda x: ops.where(x > 0, x, 0.1 * x),
    "nn": lambda x: ops.softmax(ops.gelu(x)),
    "math": lambda x: x * ops.rsqrt(ops.logsumexp(x, axis=-1, keepdims=True) ** 2 + 1),
    "image": lambda x: ops.image.resize(ops.image.resize(x, (16, 16)), (8, 8)),
    "linalg": lambda x: x / (1 + ops.norm(x, axis=-1, keepdims=True)),
    "core": lambda x: ops.stop_gradient(x) + ops.cast(ops.cast(x, "float16"), "float32"),
    "einsum": lambda x: ops.einsum("bhwc,bhwd->bhwd", x, x),
    "unstack": lambda x: ops.stack(ops.unstack(x, axis=-1), axis=-1),
}


@pytest.mark.parametrize("call", CALLS)
def test_plain_operations_are_read_back_to_the_bit(call):
    model = one_layer(CALLS[call])
    fs_graph.require_reopenable(model, {}, "cpu")
    again = fs_graph.read(graph_of(model), {})
    again.set_weights(model.get_weights())
    faces = torch.rand((2, 8, 8, 3), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(faces), again(faces))


def test_every_allowed_operation_is_keras_own_and_takes_no_function():
    from keras.src.ops.operation import Operation

    assert {module for module, _ in allowed.operations()} == {
        f"keras.src.ops.{name}" for name in ("numpy", "nn", "math", "image", "linalg", "core")
    }
    for module, name in allowed.operations():
        cls = getattr(importlib.import_module(module), name)
        assert issubclass(cls, Operation)
        assert cls.__module__ == module
    names = {name for _, name in allowed.operations()}
    assert {"Mean", "Where", "Relu", "Cast", "Resize", "Norm", "Rsqrt"} <= names
    functions = {"Map", "Scan", "AssociativeScan", "Switch", "WhileLoop", "ForiLoop", "Cond"}
    functions |= {"VectorizedMap", "JVP"}
    assert not names & {*functions, "Operation", "Function", "Functional", "Layer"}


@pytest.fixture(scope="module")
def good():
    return graph_of(one_layer(centered))


def mean_of(data):
    return next(n for n in data["config"]["layers"] if n["class_name"] == "Mean")


def called_with(*args):
    return [{"args": list(args), "kwargs": {}}]


ATTACKS = {
    "map": {"module": "keras.src.ops.core", "class_name": "Map", "registered_name": "Map"},
    "map of another module": {"class_name": "Map", "registered_name": "Map"},
    "jvp": {"module": "keras.src.ops.linalg", "class_name": "JVP", "registered_name": "JVP"},
    "function": {"module": "keras.src.ops.function", "class_name": "Function"},
    "operation": {"module": "keras.src.ops.operation", "class_name": "Operation"},
    "imported name": {"class_name": "Operation", "registered_name": "Operation"},
    "keras tensor": {"class_name": "KerasTensor"},
    "dunder": {"class_name": "__init__"},
    "dunder builtins": {"class_name": "__builtins__"},
    "module in the name": {"module": "keras.src.ops", "class_name": "numpy.Mean"},
    "package": {"module": "keras.src.ops"},
    "public package": {"module": "keras.ops"},
    "short module": {"module": "keras.src.ops.numpy."},
    "longer module": {"module": "keras.src.ops.numpy.os"},
    "module like it": {"module": "keras.src.ops.numpy_evil"},
    "other module": {"module": "os"},
    "no module": {"module": None},
    "relative": {"module": ".numpy"},
    "backend": {"module": "keras.src.backend.torch.numpy"},
    "layer from there": {"class_name": "Dense", "registered_name": "Dense"},
    "case": {"class_name": "mean"},
    "list of modules": {"module": ["keras.src.ops.numpy"]},
    "registered": {"registered_name": "trap>Mean"},
    "registered as a layer": {"registered_name": "Lambda"},
    "function object": {"module": "keras.ops", "class_name": "function", "config": "mean"},
    "function in its config": {
        "config": {"axis": {"module": "os", "class_name": "function", "config": "system"}}
    },
    "lambda in its config": {"config": {"axis": {"value": ["4wEA", None, None]}}},
    "shared": {"class_name": "Dense", "module": "keras.src.ops.numpy", "shared_object_id": 1},
    "no call": {"inbound_nodes": []},
    "empty call": {"inbound_nodes": [{}]},
    "calls that are an object": {"inbound_nodes": {}},
    "calls that are text": {"inbound_nodes": ["x"]},
    "numbers alone": {"inbound_nodes": called_with(5)},
    "one call of two": {"inbound_nodes": called_with(5) + called_with(6)},
    "a large result": {
        "class_name": "Full",
        "registered_name": "Full",
        "config": {},
        "inbound_nodes": called_with([10**6, 10**6], 0),
    },
    "arange": {
        "class_name": "Arange",
        "registered_name": "Arange",
        "config": {},
        "inbound_nodes": called_with(0, 10**13),
    },
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_graph_chooses_no_code_by_way_of_operations(good, attack, monkeypatch):
    def never(*_, **__):
        raise AssertionError("deserialized")

    data = copy.deepcopy(good)
    mean_of(data).update(ATTACKS[attack])
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", never)
    with pytest.raises(GraphError, match=r"^h.*; refused$"):
        fs_graph.read(data, {})


def test_a_class_of_the_caller_does_not_stand_in_for_an_operation():
    """Keras prefers what custom_objects names: the graph read back would be another one."""

    class Mean(keras.layers.Layer):
        def call(self, x):
            return x

    with pytest.raises(GraphError, match="but custom_objects names another class 'Mean'"):
        fs_graph.require_reopenable(one_layer(centered), {"Mean": Mean}, "cpu")


def test_naming_an_operation_in_custom_objects_works_too(good):
    from keras.src.ops import numpy

    assert (
        fs_graph.read(copy.deepcopy(good), {"Mean": numpy.Mean}).operations[2].__class__
        is numpy.Mean
    )


def test_thirty_thousand_more_layers_are_refused_in_a_second():
    data = graph_of(with_sub_models())
    layers = data["config"]["layers"]
    more = [copy.deepcopy(layers[-1]) for _ in range(30_000)]
    for number, layer in enumerate(more):
        layer["name"] = f"more_{number}"
    layers += more
    begin = time.perf_counter()
    with pytest.raises(GraphError, match="has more than 5000 layers and calls of layers"):
        fs_graph.inspect(data, {})
    assert time.perf_counter() - begin < 1


def chain(count):
    """A graph of layers one after the other."""
    start = faces = keras.Input((8, 8, 3), name="face_in_a")
    for number in range(count):
        faces = keras.layers.Identity(name=f"same_{number}")(faces)
    return graph_of(keras.Model(start, faces))


def test_layers_in_the_wrong_order_are_refused_where_keras_would_take_minutes():
    data = chain(30)
    data["config"]["layers"].reverse()
    assert len(fs_graph.read(data, {}).layers) == 31
    data = chain(inspection.MAX_BACKWARD + 5)
    fs_graph.inspect(data, {})
    data["config"]["layers"].reverse()
    with pytest.raises(GraphError, match="has its layers in an order that takes too long"):
        fs_graph.read(data, {})


def test_layers_that_are_used_in_turns_are_read_back():
    start = faces = keras.Input((8, 8, 3), name="face_in_a")
    turns = [keras.layers.Conv2D(3, 1, name=name) for name in "pq"]
    for number in range(40):
        faces = turns[number % 2](faces)
    fs_graph.require_reopenable(keras.Model(start, faces), {}, "cpu")


def test_calls_of_one_layer_count_too(good):
    data = copy.deepcopy(good)
    mean_of(data)["inbound_nodes"] *= inspection.MAX_LAYERS
    with pytest.raises(GraphError, match="layers and calls of layers"):
        fs_graph.read(data, {})
