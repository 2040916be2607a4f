"""Broken and hostile files: one line, exit code 5, nothing run, nothing left."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from addon_import import small_models
from addon_import.small_models import members, pickled, rewrite_config, write_members
from fs_addon_import.importing import import_model
from fs_kernel.cli import run_cli
from fs_kernel.storage.checkpoints import Checkpoints

FILE = "original.keras"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A good model folder of the current kind."""
    with zipfile.ZipFile(small_models.DATA / "current.zip") as archive:
        archive.extractall(tmp_path / "kept")
    return tmp_path / "kept" / "model"


def refused(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Import, and hold the end against what it must be; returns the line."""
    beside = tmp_path / "beside"
    beside.mkdir()
    code = run_cli(["import", str(old), str(beside / "new")])
    lines = capsys.readouterr().err.splitlines()
    assert code == 5, lines
    assert len(lines) == 1
    assert lines[0].startswith("fs: ")
    assert list(beside.iterdir()) == []
    return lines[0]


# --- the zip ---


def test_no_zip(old, tmp_path, capsys) -> None:
    (old / FILE).write_bytes(b"PK\x03\x04" + os.urandom(500))
    assert "not a readable .keras file" in refused(old, tmp_path, capsys)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_file(old, tmp_path, capsys, share: float) -> None:
    content = (old / FILE).read_bytes()
    (old / FILE).write_bytes(content[: int(len(content) * share)])
    refused(old, tmp_path, capsys)


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "sub/evil", "a\\..\\evil"])
def test_a_member_that_would_escape(old, tmp_path, capsys, name: str) -> None:
    write_members(old / FILE, {**members(old / FILE), name: b"x"})
    assert "unknown member" in refused(old, tmp_path, capsys)


def test_a_member_twice(old, tmp_path, capsys) -> None:
    with (
        zipfile.ZipFile(old / FILE, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr("config.json", "{}")
    assert "twice" in refused(old, tmp_path, capsys)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "optimizer.pt"])
def test_a_zip_bomb(old, tmp_path, capsys, name: str) -> None:
    kept = {k: v for k, v in members(old / FILE).items() if k != name}
    write_members(old / FILE, kept)
    with (
        zipfile.ZipFile(old / FILE, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open(name, "w", force_zip64=True) as out,
    ):
        for _ in range(80):
            out.write(bytes(2**20))
    assert "suspicious size" in refused(old, tmp_path, capsys)


def test_a_size_that_lies(old, tmp_path, capsys) -> None:
    content = bytearray((old / FILE).read_bytes())
    with zipfile.ZipFile(old / FILE) as archive:
        info = archive.getinfo("model.weights.h5")
    size = info.file_size.to_bytes(4, "little")
    central = content.rindex(b"model.weights.h5") - 46
    at = content.index(size, central)
    content[at : at + 4] = (info.file_size // 2).to_bytes(4, "little")
    (old / FILE).write_bytes(content)
    refused(old, tmp_path, capsys)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_missing_member(old, tmp_path, capsys, name: str) -> None:
    write_members(old / FILE, {k: v for k, v in members(old / FILE).items() if k != name})
    assert f"lacks {name}" in refused(old, tmp_path, capsys)


# --- the graph ---


def sub(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A layer of the encoder by its class."""
    encoder = next(x for x in config["config"]["layers"] if x["name"] == "encoder")
    return next(x for x in encoder["config"]["layers"] if x["class_name"] == name)


def _lambda(config: dict[str, Any]) -> None:
    code = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None}}
    sub(config, "Flatten").update(
        module="keras.layers", class_name="Lambda", config={"name": "flatten", "function": code}
    )


def _set(path: str, name: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        node = sub(config, name)
        (node["config"] if path else node).update(values)

    return change


def _deep(config: dict[str, Any]) -> None:
    nested: Any = 1
    for _ in range(500):
        nested = [nested]
    sub(config, "Flatten")["config"]["name"] = nested


def _deep_models(config: dict[str, Any]) -> None:
    layers = config["config"]["layers"]
    inner = next(x for x in layers if x["name"] == "encoder")
    for _ in range(70):
        inner = {**inner, "config": {**inner["config"], "layers": [inner]}}
    layers.append(inner)


GRAPHS = {
    "a lambda": _lambda,
    "an unknown class": _set("", "Flatten", class_name="Evil"),
    "a foreign module": _set("", "Flatten", module="os", class_name="system"),
    "a class of its own that is not known": _set(
        "", "Flatten", module="lib.model.layers", class_name="Exec"
    ),
    "a class by its registered name": _set(
        "", "Flatten", module="builtins", class_name="eval", registered_name="eval"
    ),
    "an initialiser from elsewhere": _set(
        "config", "Dense", kernel_initializer={"module": "os", "class_name": "x", "config": {}}
    ),
    "a function as activation": _set(
        "config",
        "Dense",
        activation={"module": "builtins", "class_name": "function", "config": "exec"},
    ),
    "an activation by a path": _set("config", "Dense", activation="os.system"),
    "more weights than the file holds": _set("config", "Dense", units=2**40),
    "a negative width": _set("config", "Dense", units=-4),
    "words for numbers": _set("config", "Dense", units="many"),
    "no layers": lambda config: config["config"].update(layers=7),
    "no root": lambda config: config.update(class_name="Sequential"),
    "outputs that are not there": lambda config: config["config"].update(
        output_layers=[["nobody", 0, 0], ["decoder_b", 1, 0]]
    ),
    "three outputs": lambda config: config["config"]["output_layers"].append(["decoder_b", 1, 0]),
    "outputs by a negative number": lambda config: config["config"].update(
        output_layers=[["decoder_a", -1, 0], ["decoder_b", 1, 0]]
    ),
    "a name of a thousand lists": _deep,
    "models in models": _deep_models,
    "double precision": _set("config", "Dense", dtype="float64"),
    "infinite arithmetic": lambda config: sub(config, "Multiply")["inbound_nodes"][0][
        "args"
    ].append("x"),
}


@pytest.mark.parametrize("what", GRAPHS)
def test_a_graph_with(old, tmp_path, capsys, what: str) -> None:
    rewrite_config(old / FILE, GRAPHS[what])
    refused(old, tmp_path, capsys)


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"[]", b"[" * 10**5, b'{"class_name": "Functional"}', b"\xff\xfe{"],
)
def test_a_config_that_is_none(old, tmp_path, capsys, content: bytes) -> None:
    write_members(old / FILE, {**members(old / FILE), "config.json": content})
    refused(old, tmp_path, capsys)


@pytest.mark.parametrize(
    "metadata", [b"{}", b'{"keras_version": "2.12.0"}', b"[1]", b'{"keras_version": 3}']
)
def test_another_version_of_keras(old, tmp_path, capsys, metadata: bytes) -> None:
    write_members(old / FILE, {**members(old / FILE), "metadata.json": metadata})
    assert "not a file of Keras 3" in refused(old, tmp_path, capsys)


# --- the weights ---

WEIGHT = "layers/functional/layers/dense/vars"


def change_weights(path: Path, change: Callable[[h5py.File], None]) -> None:
    found = members(path)
    file = path.with_name("weights.h5")
    file.write_bytes(found["model.weights.h5"])
    with h5py.File(file, "r+") as opened:
        change(opened)
    found["model.weights.h5"] = file.read_bytes()
    file.unlink()
    write_members(path, found)


def _replace(make: Callable[[h5py.Group], None]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[WEIGHT]["0"]
        make(file[WEIGHT])

    return change


def _external_storage(group: h5py.Group) -> None:
    group.create_dataset("0", (128, 4), "f4", external=[("/etc/passwd", 0, 2048)])


def _virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((128, 4), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (128, 4))
    group.create_virtual_dataset("0", layout)


def _packed(group: h5py.Group) -> None:
    group.create_dataset("0", (128, 4), "f4", chunks=(128, 4), compression="gzip")


def _unwritten(group: h5py.Group) -> None:
    group.create_dataset("0", (128, 4), "f4")


WEIGHTS = {
    "an external link": _replace(
        lambda g: g.__setitem__("0", h5py.ExternalLink("/etc/passwd", "/x"))
    ),
    "a soft link": _replace(lambda g: g.__setitem__("0", h5py.SoftLink("/vars"))),
    "numbers in another file": _replace(_external_storage),
    "a virtual data set": _replace(_virtual),
    "packed numbers": _replace(_packed),
    "numbers that were never written": _replace(_unwritten),
    "another shape": _replace(lambda g: g.create_dataset("0", data=np.zeros((4, 128), "f4"))),
    "another type": _replace(lambda g: g.create_dataset("0", data=np.zeros((128, 4), "i4"))),
    "texts": _replace(lambda g: g.create_dataset("0", data=np.full((128, 4), b"x"))),
    "a group for numbers": _replace(lambda g: g.create_group("0")),
    "nothing": _replace(lambda g: None),
    "not-a-number": _replace(lambda g: g.create_dataset("0", data=np.full((128, 4), np.nan, "f4"))),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_with(old, tmp_path, capsys, what: str) -> None:
    change_weights(old / FILE, WEIGHTS[what])
    refused(old, tmp_path, capsys)


def test_the_shape_that_the_tests_replace() -> None:
    with zipfile.ZipFile(small_models.DATA / "current.zip") as archive:
        inner = archive.open(f"model/{FILE}")
        with zipfile.ZipFile(inner) as keras, h5py.File(keras.open("model.weights.h5")) as file:
            assert file[WEIGHT]["0"].shape == (128, 4)


# --- the optimiser ---


class Evil:
    """Writes a file when it is unpickled by somebody who lets it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "was here")


def set_optimizer(path: Path, content: bytes) -> None:
    write_members(path, {**members(path), "optimizer.pt": content})


@pytest.mark.parametrize("how", ["pickle", "torch", "inside"])
def test_code_in_the_optimiser(old, tmp_path, capsys, how: str) -> None:
    mark = tmp_path / "mark"
    evil = Evil(mark)
    tree = {"version": 1.0, "optimizer": evil, "scaler": None}
    content = {"pickle": lambda: pickle.dumps(tree), "torch": lambda: pickled(tree)}.get(
        how, lambda: pickled({**tree, "optimizer": {"state": {0: {"step": evil}}}})
    )()
    set_optimizer(old / FILE, content)
    refused(old, tmp_path, capsys)
    assert not mark.exists()


def test_packed_tensors_in_the_optimiser(old, tmp_path, capsys) -> None:
    found = old / "optimizer.pt"
    found.write_bytes(members(old / FILE)["optimizer.pt"])
    inner = members(found)
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in inner.items():
            archive.writestr(name, content)
    set_optimizer(old / FILE, found.read_bytes())
    found.unlink()
    assert "packed" in refused(old, tmp_path, capsys)


def test_a_damaged_optimiser(old, tmp_path, capsys) -> None:
    content = members(old / FILE)["optimizer.pt"]
    set_optimizer(old / FILE, content[: len(content) // 2])
    refused(old, tmp_path, capsys)


def _saved(old: Path) -> dict[str, Any]:
    file = old / "optimizer.pt"
    file.write_bytes(members(old / FILE)["optimizer.pt"])
    tree = torch.load(file, weights_only=True)
    file.unlink()
    return tree


def _wrong_shape(tree: dict[str, Any]) -> None:
    tree["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1).expand(10**9)


def _fewer(tree: dict[str, Any]) -> None:
    tree["optimizer"]["param_groups"][0]["params"].pop()


def _twice(tree: dict[str, Any]) -> None:
    params = tree["optimizer"]["param_groups"][0]["params"]
    params[1] = params[0]


def _spoiled(tree: dict[str, Any]) -> None:
    tree["optimizer"]["state"][0]["exp_avg"].fill_(float("inf"))


def _texts(tree: dict[str, Any]) -> None:
    tree["optimizer"]["state"][0] = "text"


def _sparse(tree: dict[str, Any]) -> None:
    moment = tree["optimizer"]["state"][0]["exp_avg"]
    tree["optimizer"]["state"][0]["exp_avg"] = moment.to_sparse()


@pytest.mark.parametrize("change", [_wrong_shape, _fewer, _twice, _spoiled, _texts, _sparse])
def test_moments_that_do_not_fit_are_left_out(old, tmp_path, change: Any) -> None:
    tree = _saved(old)
    change(tree)
    set_optimizer(old / FILE, pickled(tree))
    made = import_model(old, tmp_path / "new")
    assert made.optimizer is None
    assert any("optimiser starts afresh" in note for note in made.notes)
    assert "trainer" not in Checkpoints(tmp_path / "new").read_training(made.generation)


# --- state, folders ---


@pytest.mark.parametrize(
    "name", ["./evil.py", "evil:Model", "evil.module", "../original", "x" * 99]
)
def test_a_state_that_names_code(old, tmp_path, capsys, name: str) -> None:
    path = old / "original_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": name}))
    assert "names no model" in refused(old, tmp_path, capsys)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 10**5, b"\xff"])
def test_a_damaged_state(old, tmp_path, capsys, content: bytes) -> None:
    (old / "original_state.json").write_bytes(content)
    assert "original_state.json" in refused(old, tmp_path, capsys)


def test_odd_values_in_a_state_do_no_harm(old, tmp_path) -> None:
    path = old / "original_state.json"
    odd = {
        "sessions": {"1": 7, "x": {}, "2": {"iterations": -5}, "3": {"iterations": 1e400}},
        "iterations": float("nan"),
        "lr_finder": "fast",
        "mixed_precision_layers": [1, None, "dense"],
        "config": {"coverage": [], "learning_rate": {}, "loss_function": 3, "mask_type": "rot13"},
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), **odd}))
    made = import_model(old, tmp_path / "new")
    assert made.iterations == 0
    assert any("coverage" in note for note in made.notes)


def test_a_folder_in_use_is_left_alone(old, tmp_path, capsys) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "mine.txt").write_text("mine")
    assert run_cli(["import", str(old), str(new)]) == 5
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in new.iterdir()] == ["mine.txt"]


def test_a_folder_inside_of_the_old_one_is_refused(old, capsys) -> None:
    assert run_cli(["import", str(old), str(old / "new")]) == 5
    assert "stays as it is" in capsys.readouterr().err
    assert not (old / "new").exists()


@pytest.mark.parametrize("missing", ["nothing", "empty"])
def test_nothing_to_import(tmp_path, capsys, missing: str) -> None:
    (tmp_path / "empty").mkdir()
    assert run_cli(["import", str(tmp_path / missing), str(tmp_path / "new")]) == 5
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_several_models_in_a_folder_are_named(old, tmp_path, capsys) -> None:
    (old / "villain.keras").write_bytes(b"x")
    assert "name the file" in refused(old, tmp_path, capsys)


def test_a_write_that_fails_leaves_nothing(old, tmp_path, capsys, monkeypatch) -> None:
    from fs_kernel.storage import tensors

    def fail(found: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors, "chunks", fail)
    assert "No space left" in refused(old, tmp_path, capsys)


def test_no_bytes_of_garbage_end_in_a_traceback(old, tmp_path, capsys) -> None:
    content = (old / FILE).read_bytes()
    numbers = np.random.default_rng(1)
    for round_ in range(12):
        spoiled = bytearray(content)
        for place in numbers.integers(0, len(content), 20):
            spoiled[place] = int(numbers.integers(0, 256))
        (old / FILE).write_bytes(spoiled)
        code = run_cli(["import", str(old), str(tmp_path / f"new{round_}")])
        assert code in (0, 5), capsys.readouterr().err
        capsys.readouterr()
