"""Graphs as JSON: a file never chooses what code runs."""

from __future__ import annotations

import copy
import json
import sys

import keras
import pytest
import torch
from fs_kernel import networks
from fs_kernel.errors import ModelFolderError
from fs_kernel.networks import allowed
from fs_kernel.networks import serialization as graph
from fs_kernel.storage.files import to_json_bytes
from networks import autoencoder


@pytest.fixture(autouse=True, scope="module")
def cpu():
    with networks.building(3, "cpu"):
        yield


@pytest.fixture(scope="module")
def good():
    """The graph of a network, as read from its file."""
    with networks.building(3, "cpu"):
        return json.loads(to_json_bytes(networks.to_json(autoencoder())))


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
    return networks.from_json(networks.parse(json.dumps(data).encode(), "net"), custom or {}, "net")


def refused(data, says="", custom=None):
    with pytest.raises(ModelFolderError, match=says) as caught:
        read(data, custom)
    assert caught.value.exit_code == 5


def test_a_graph_comes_back_with_names_outputs_and_results(good):
    net = autoencoder()
    again = read(good)
    assert (again.sides, again.color_order) == (("a", "b"), "bgr")
    assert again.outputs == net.outputs
    assert networks.fingerprint(again) == networks.fingerprint(net)
    networks.assign(again, networks.weights(net), "x")
    faces = [torch.rand((1, 8, 8, 3)) for _ in "ab"]
    with torch.no_grad():
        for x, y in zip(net.model(faces), again.model(faces), strict=True):
            assert torch.equal(x, y)


def test_a_graph_of_a_graph_is_the_same(good):
    assert json.loads(to_json_bytes(networks.to_json(read(good)))) == good


def test_owned_networks_are_not_written():
    net = autoencoder()
    net.owned = {"judge": keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])}
    data = networks.to_json(net)
    assert data["extra"] == {}
    assert read(json.loads(to_json_bytes(data))).owned == {}


@pytest.mark.parametrize(
    "extra",
    [
        {"judge": {"class_name": "Lambda", "module": "keras.layers", "config": {}}},
        {"judge": {"class_name": "Popen", "module": "trap_module", "config": {}}},
        {"judge": 5},
        [1],
    ],
)
def test_what_old_graphs_hold_of_owned_networks_is_not_looked_at(good, trap, extra):
    again = read({**good, "extra": extra})
    assert networks.fingerprint(again) == networks.fingerprint(read(good))
    assert again.owned == {}


class Custom(keras.layers.Layer):
    def call(self, x):
        return x * 2


def custom_graph():
    start = keras.Input((8, 8, 3), name="face_in_a")
    model = keras.Model(start, Custom()(start), name="m")
    from fs_kernel.types import Network, Output

    return json.loads(
        to_json_bytes(networks.to_json(Network(model, [Output("a", "face", 8)], {}, ("a",))))
    )


def test_a_custom_class_is_made_only_where_the_plugin_names_it():
    data = custom_graph()
    refused(data, "named in the model plugin's custom_objects; refused")
    again = read(data, {"Custom": Custom})
    assert any(isinstance(layer, Custom) for layer in again.model.layers)


def test_a_custom_class_may_have_moved_and_no_file_says_where_to(trap):
    data = custom_graph()
    layer_named(data, "Custom")["module"] = "trap_module"
    again = read(data, {"Custom": Custom})
    assert any(isinstance(layer, Custom) for layer in again.model.layers)
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
    "optimizer": lambda n, d: d["model"].update(
        compile_config={
            "optimizer": {"module": "keras.optimizers", "class_name": "Adam", "config": {}},
            "loss": "mse",
        }
    ),
    "loss function": lambda n, d: d["model"].update(compile_config={"loss": FUNCTION}),
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
    "model that is a layer": lambda n, d: d.update(model=n),
    "model that is text": lambda n, d: d.update(model="keras"),
    "model that is null": lambda n, d: d.update(model=None),
    "model missing": lambda n, d: d.pop("model"),
    "outputs missing": lambda n, d: d.pop("outputs"),
    "outputs that are numbers": lambda n, d: d.update(outputs=[1, 2, 3, 4]),
    "too few outputs": lambda n, d: d["outputs"].pop(),
    "outputs of another size": lambda n, d: d["outputs"][0].update(size=999),
    "size that is text": lambda n, d: d["outputs"][0].update(size="big"),
    "size that is huge": lambda n, d: d["outputs"][0].update(size=float("inf")),
    "sides missing": lambda n, d: d.pop("sides"),
    "sides that are a number": lambda n, d: d.update(sides=5),
    "too many sides": lambda n, d: d.update(sides=["a", "b", "c"]),
    "colour order missing": lambda n, d: d.pop("color_order"),
    "weights beyond all memory": lambda n, d: n["config"].update(filters=10**15),
    "filters that are text": lambda n, d: n["config"].update(filters="many"),
    "layers that do not connect": lambda n, d: d["model"]["config"].update(layers=[]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_graphs_are_refused_and_import_nothing(good, trap, attack):
    refused(hostile(good, ATTACKS[attack]), "^net ")


def test_markers_anywhere_are_refused_before_keras_sees_them(good, monkeypatch):
    def never(*_, **__):
        raise AssertionError("deserialised")

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", never)
    for attack in ("lambda layer", "__lambda__", "function object", "optimizer", "numpy key"):
        refused(hostile(good, ATTACKS[attack]), "refused")


def test_a_deep_graph_is_refused():
    deep = []
    for _ in range(200):
        deep = [deep]
    refused({"format": 1, "model": deep}, "nested deeper than 100 levels")
    with pytest.raises(ModelFolderError, match="net is not valid JSON"):
        networks.parse(b'{"format": 1, "model": ' + b"[" * 100_000, "net")


def test_a_huge_file_is_refused(monkeypatch):
    monkeypatch.setattr(graph, "MAX_BYTES", 2**20)
    with pytest.raises(ModelFolderError, match="net is larger than 1 MiB; refused"):
        networks.parse(b" " * (2**20 + 1), "net")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"5", b"null", b"{}", b'{"format": 2}', b"\xff\xff", b'{"format": NaN}'],
)
def test_what_is_no_graph(text):
    with pytest.raises(ModelFolderError, match=r"^net is not "):
        networks.parse(text, "net")


def test_the_allowed_classes_all_exist_in_keras():
    """A name that Keras does not have would be an invitation to whoever registers it."""
    homes = (keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras)
    homes += (keras.models, keras.dtype_policies)
    missing = [name for name in allowed.PLAIN if not any(hasattr(h, name) for h in homes)]
    assert missing == [type(autoencoder().model).__name__]
