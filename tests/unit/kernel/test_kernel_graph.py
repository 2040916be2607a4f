"""Graphs as JSON: a file never chooses what code runs."""

from __future__ import annotations

import copy
import json
import sys

import fs_graph.reading
import keras
import pytest
import torch
from fs_kernel import networks
from fs_kernel.errors import ModelFolderError
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


# --- hostile graphs ---


def hostile(good, change):
    data = copy.deepcopy(good)
    change(layer_named(data, "Conv2D"), data)
    return data


ATTACKS = {
    "lambda layer": lambda n, d: n.update(class_name="Lambda", module="keras.layers"),
    "unknown class": lambda n, d: n.update(class_name="NoSuchLayer"),
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
    "layers that do not connect": lambda n, d: d["model"]["config"].update(layers=[]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_graphs_are_refused_and_import_nothing(good, trap, attack):
    refused(hostile(good, ATTACKS[attack]), "^net ")


def test_markers_anywhere_are_refused_before_keras_sees_them(good, monkeypatch):
    def never(*_, **__):
        raise AssertionError("deserialised")

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", never)
    for attack in ("lambda layer", "unknown class"):
        refused(hostile(good, ATTACKS[attack]), "refused")


def test_a_deep_graph_is_refused():
    deep = []
    for _ in range(200):
        deep = [deep]
    refused({"format": 1, "model": deep}, "nested deeper than 100 levels")
    with pytest.raises(ModelFolderError, match="net is not valid JSON"):
        networks.parse(b'{"format": 1, "model": ' + b"[" * 100_000, "net")


def test_a_huge_file_is_refused(monkeypatch):
    monkeypatch.setattr(fs_graph.reading, "MAX_BYTES", 2**20)
    with pytest.raises(ModelFolderError, match="net is larger than 1 MiB; refused"):
        networks.parse(b" " * (2**20 + 1), "net")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"5", b"null", b"{}", b'{"format": 2}', b"\xff\xff", b'{"format": NaN}'],
)
def test_what_is_no_graph(text):
    with pytest.raises(ModelFolderError, match=r"^net is not "):
        networks.parse(text, "net")
