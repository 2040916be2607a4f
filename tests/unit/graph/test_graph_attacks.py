"""Graphs as JSON: a file never chooses what code runs."""

from __future__ import annotations

import copy
import json
import sys

import fs_graph
import keras
import pytest
import torch
from fs_graph import GraphError, allowed, reading
from small_models import graph_of, with_sub_models


@pytest.fixture(scope="module")
def good():
    """The graph of a model, as read from its file."""
    return graph_of(with_sub_models())


@pytest.fixture
def trap(site):
    """A module on the path that tells when it is imported."""
    (site.folder / "trap_module.py").write_text(
        "import builtins\nbuiltins.trapped = True\nclass Dense: pass\n"
    )
    yield
    assert "trap_module" not in sys.modules
    assert not hasattr(__import__("builtins"), "trapped")


def layer_named(data, class_name):
    """The first node of a class in a graph."""
    if isinstance(data, dict):
        if data.get("class_name") == class_name:
            return data
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            if (found := layer_named(item, class_name)) is not None:
                return found
    return None


def read(data, custom=None):
    return fs_graph.read(fs_graph.parse(json.dumps(data).encode()), custom or {})


def refused(data, says="", custom=None):
    with pytest.raises(GraphError, match=says):
        read(data, custom)


def test_a_graph_comes_back_with_names_and_results(good):
    model, again = with_sub_models(), read(good)
    assert graph_of(again) == good
    assert list(fs_graph.variables(again)) == list(fs_graph.variables(model))
    again.set_weights(model.get_weights())
    faces = torch.rand((1, 8, 8, 3))
    with torch.no_grad():
        assert torch.equal(model(faces), again(faces))


class Custom(keras.layers.Layer):
    def call(self, x):
        return x * 2


def custom_graph():
    start = keras.Input((8, 8, 3), name="start")
    return graph_of(keras.Model(start, Custom()(start), name="m"))


def test_a_custom_class_is_made_only_where_the_caller_names_it():
    data = custom_graph()
    refused(data, "nor named in custom_objects; refused")
    again = read(data, {"Custom": Custom})
    assert any(isinstance(layer, Custom) for layer in again.layers)


def test_a_custom_class_may_have_moved_and_no_file_says_where_to(trap):
    data = custom_graph()
    layer_named(data, "Custom")["module"] = "trap_module"
    again = read(data, {"Custom": Custom})
    assert any(isinstance(layer, Custom) for layer in again.layers)
    layer_named(data, "Custom")["registered_name"] = "trap_module>Custom"
    refused(data, "refused", {"Custom": Custom})
    layer_named(data, "Custom")["registered_name"] = None
    refused(data, "refused", {"Custom": Custom})


# --- hostile graphs ---


def hostile(good, change):
    data = copy.deepcopy(good)
    change(layer_named(data, "Conv2D"), data)
    return data


FUNCTION = {"module": "builtins", "class_name": "function", "config": "eval"}
ATTACKS = {
    "lambda layer": lambda n, d: n.update(class_name="Lambda", module="keras.layers"),
    "unknown class": lambda n, d: n.update(class_name="NoSuchLayer"),
    "class of a foreign module": lambda n, d: n.update(
        class_name="Dense", module="trap_module", registered_name="Dense"
    ),
    "foreign class": lambda n, d: n.update(class_name="Popen", module="subprocess"),
    "registered name": lambda n, d: n.update(registered_name="trap_module>Dense"),
    "module like keras": lambda n, d: n.update(module="keras_evil.layers"),
    "wrapper of torch": lambda n, d: n.update(class_name="TorchModuleWrapper"),
    "tensorflow module": lambda n, d: n.update(class_name="TFSMLayer"),
    "__lambda__": lambda n, d: n["config"].update(
        activation={"class_name": "__lambda__", "config": {"value": "4wAA"}}
    ),
    "__lambda__ key": lambda n, d: n["config"].update(activation={"__lambda__": {"value": "4wAA"}}),
    "function object": lambda n, d: n["config"].update(activation=FUNCTION),
    "function in a list": lambda n, d: n["config"].update(strides=[FUNCTION]),
    "numpy object": lambda n, d: n["config"].update(x={"class_name": "__numpy__", "config": {}}),
    "numpy key": lambda n, d: n["config"].update(x={"__numpy__": [1]}),
    "tensor": lambda n, d: n["config"].update(x={"class_name": "__tensor__", "config": {}}),
    "bytes": lambda n, d: n["config"].update(x={"class_name": "__bytes__", "config": {}}),
    "typespec": lambda n, d: n["config"].update(x={"class_name": "__typespec__", "config": {}}),
    "optimizer": lambda n, d: d.update(
        compile_config={
            "optimizer": {"module": "keras.optimizers", "class_name": "Adam", "config": {}},
            "loss": "mse",
        }
    ),
    "loss function": lambda n, d: d.update(compile_config={"loss": FUNCTION}),
    "class name that is a list": lambda n, d: n.update(class_name=["Dense"]),
    "class name that is an object": lambda n, d: n.update(class_name={"a": 1}),
    "class name that is null": lambda n, d: n.update(class_name=None),
    "class name that is a number": lambda n, d: n.update(class_name=5),
    "module that is a list": lambda n, d: n.update(module=["keras"]),
    "registered name that is a list": lambda n, d: n.update(registered_name=["x"]),
    "config that is a list": lambda n, d: n.update(config=[1]),
    "config that is text": lambda n, d: n.update(config="trap_module"),
    "config missing": lambda n, d: n.pop("config"),
    "initializer of another kind": lambda n, d: n["config"].update(
        kernel_initializer={"class_name": "Dense", "module": "trap_module", "config": {}}
    ),
    "weights beyond all memory": lambda n, d: n["config"].update(filters=10**15),
    "root that is a layer": lambda n, d: (layer := dict(n), d.clear(), d.update(layer)),
    "filters that are text": lambda n, d: n["config"].update(filters="many"),
    "layers that do not connect": lambda n, d: d["config"].update(layers=[]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_graphs_are_refused_and_import_nothing(good, trap, attack):
    refused(hostile(good, ATTACKS[attack]), "^(holds|cannot be built)")


def test_markers_anywhere_are_refused_before_keras_sees_them(good, monkeypatch):
    def never(*_, **__):
        raise AssertionError("deserialised")

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", never)
    for attack in ("lambda layer", "__lambda__", "function object", "optimizer", "numpy key"):
        refused(hostile(good, ATTACKS[attack]), "refused")


@pytest.mark.parametrize("root", ["keras", None, 5, [], {}, [{"class_name": "Dense"}]])
def test_roots_that_are_not_a_model_are_refused(root):
    refused(root, "^cannot be built: .*")


def test_a_deep_graph_is_refused():
    deep = []
    for _ in range(200):
        deep = [deep]
    refused(deep, "^is nested deeper than 100 levels; refused$")
    with pytest.raises(GraphError, match=r"^is not valid JSON"):
        fs_graph.parse(b"[" * 100_000)


def test_a_huge_file_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 2**20)
    with pytest.raises(GraphError, match=r"^is larger than 1 MiB; refused$"):
        fs_graph.parse(b" " * (2**20 + 1))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xff", b"nan"])
def test_what_is_not_json(text):
    with pytest.raises(GraphError, match=r"^is not valid JSON"):
        fs_graph.parse(text)


def test_the_allowed_classes_all_exist_in_keras():
    """A name that Keras does not have would be an invitation to whoever registers it."""
    homes = (keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras)
    homes += (keras.models, keras.dtype_policies)
    missing = [name for name in allowed.PLAIN if not any(hasattr(h, name) for h in homes)]
    assert missing == [type(with_sub_models()).__name__]
