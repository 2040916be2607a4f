"""``fs export --to faceswap3``, and back."""

from __future__ import annotations

import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from addon_import import small_models
from addon_import.small_models import members
from fs_addon_import import exporting
from fs_addon_import.faceswap3.graph import config_of
from fs_addon_import.importing import import_model
from fs_addon_import.keras3.graph import Rewriter
from fs_addon_import.keras3.weights import locate
from fs_addon_import.rebuild import rebuild
from fs_kernel import networks
from fs_kernel.cli import run_cli
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.trained_model import TrainedModel
from fs_kernel.training.resolve import Request, resolve_run


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, Path, Path]:
    """The folder of the other program, ours, and what was written for the other."""
    room = tmp_path_factory.mktemp("export")
    with zipfile.ZipFile(small_models.DATA / "current.zip") as archive:
        archive.extractall(room)
    import_model(room / "model", room / "ours")
    assert run_cli(["export", str(room / "ours"), str(room / "out"), "--to", "faceswap3"]) == 0
    return room / "model", room / "ours", room / "out"


def test_it_comes_back_the_same(exported, tmp_path: Path) -> None:
    _, ours, out = exported
    assert sorted(p.name for p in out.iterdir()) == ["original.keras", "original_state.json"]
    made = import_model(out, tmp_path / "back")
    assert made.optimizer is None
    first, second = Checkpoints(ours), Checkpoints(tmp_path / "back")
    weights = first.read_weights(first.current_name())
    again = second.read_weights(second.current_name())
    assert list(weights) == list(again)
    assert all(np.array_equal(weights[key], again[key]) for key in weights)
    found = [small_models.answers(TrainedModel(f).network.model) for f in (ours, tmp_path / "back")]
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    configs = [tomllib.loads(c.config_path(c.current_name()).read_text()) for c in (first, second)]
    assert configs[0] == configs[1]


def test_the_parts_of_the_file(exported) -> None:
    _, _, out = exported
    found = members(out / "original.keras")
    assert list(found) == ["metadata.json", "config.json", "model.weights.h5"]
    assert json.loads(found["metadata.json"])["keras_version"].startswith("3.14.")
    config = json.loads(found["config.json"])
    assert config["compile_config"] == {}
    classes = set(_classes(config))
    assert ("lib.model.layers", "PixelShuffler", "PixelShuffler") in classes
    name = "InstanceNormalization"
    assert ("lib.model.normalization", name, name) in classes
    assert not any(str(module).startswith("fs_") for module, *_ in classes)


def test_weights_lie_where_the_other_program_put_them(exported) -> None:
    old, _, out = exported
    trees = []
    for path in (old, out):
        with (
            zipfile.ZipFile(path / "original.keras") as archive,
            h5py.File(archive.open("model.weights.h5")) as file,
        ):
            tree: dict[str, Any] = {}

            def visit(name: str, node: Any, tree: dict[str, Any] = tree) -> None:
                is_data = isinstance(node, h5py.Dataset)
                tree[name] = node[()].tobytes() if is_data else dict(node.attrs)

            file.visititems(visit)
            trees.append(tree)
    before, after = trees
    # The arithmetic of the old graph is two layers in ours, which have no weights.
    extra = {name for name in after if "/rescaling" in name}
    assert set(after) - extra == set(before)
    assert all(after[name] == before[name] for name in before)


def test_the_state_is_one_of_the_other_program(exported) -> None:
    old, _, out = exported
    before = json.loads((old / "original_state.json").read_text())
    after = json.loads((out / "original_state.json").read_text())
    assert set(after) == set(before)
    for key in ("name", "iterations", "lr_finder"):
        assert after[key] == before[key]
    assert set(after["mixed_precision_layers"]) == {"conv_4_0_leakyrelu", "dense", "reshape"}
    assert after["config"]["lowmem"] is True
    assert after["config"]["centering"] == "head"
    assert after["config"]["learning_rate"] == 2e-5
    assert after["config"]["nan_protection"] is True
    assert not {"ema_decay", "warmup_steps", "normalize_masks", "preset"} & set(after["config"])
    for number, session in before["sessions"].items():
        written = after["sessions"][number]
        assert {k: written[k] for k in ("timestamp", "batchsize", "iterations")} == {
            k: session[k] for k in ("timestamp", "batchsize", "iterations")
        }


def _classes(node: Any):
    if isinstance(node, dict):
        if "class_name" in node and "module" in node:
            yield node["module"], node["class_name"], node.get("registered_name")
        for value in node.values():
            yield from _classes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _classes(value)


def test_a_folder_in_use_is_left_alone(exported, tmp_path: Path, capsys) -> None:
    _, ours, _ = exported
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    assert run_cli(["export", str(ours), str(tmp_path / "mine")]) == 5
    assert "not empty" in capsys.readouterr().err
    assert run_cli(["export", str(ours), str(ours / "inside")]) == 5
    assert run_cli(["export", str(tmp_path / "mine"), str(tmp_path / "out")]) == 5
    assert not (tmp_path / "out").exists()


MASKS = {"network": {"learn_mask": True}}
PADDED = {"network": {"reflect_padding": True, "icnr_init": True}}
MOBILE = {
    "model.phaze_a": {
        "enc_architecture": "mobilenet_v2",
        "enc_load_weights": False,
        "bottleneck_norm": "rms",
        "dec_norm": "group",
        "dec_upscale_method": "resize_images",
        "shared_fc": "half",
    }
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("original", PADDED),
        ("lightweight", {}),
        ("dfaker", MASKS),
        ("dfl_h128", {}),
        ("dfl_sae", {"model.dfl_sae": {"architecture": "liae"}}),
        ("dlight", {}),
        ("iae", {}),
        ("realface", {}),
        ("unbalanced", MASKS),
        ("villain", {}),
        ("phaze_a", {}),
        ("phaze_a", MOBILE),
    ],
)
def test_every_network_can_be_told_and_understood(name: str, options: dict) -> None:
    """Full size, without memory: the graph goes to the other program's words and back."""
    parts = resolve_run(Request(Path(), name, values=options), ("models",), look=False)
    with networks.building(0, "meta"):
        built = networks.build(parts.plugins.model)
    config = json.loads(json.dumps(config_of(built)))
    rewriter = Rewriter()
    again = rebuild(rewriter.root(config), name)
    first, second = networks.weights(built), networks.weights(again)
    assert {name: v.shape for name, v in first.items()} == {n: v.shape for n, v in second.items()}
    assert list(again.outputs) == list(built.outputs)
    weights = locate(again, rewriter.places)
    assert {w.name for w in weights} == set(first)
    assert len({w.stored for w in weights}) == len(weights)
    homes = {module.split(".")[0] for module, *_ in _classes(config)}
    assert homes <= {"keras", "lib"}


def test_layers_that_the_other_program_lacks_are_named() -> None:
    values = {"model.phaze_a": {"enc_architecture": "clipv_vit-b-32", "enc_load_weights": False}}
    parts = resolve_run(Request(Path(), "phaze_a", values=values), ("models",), look=False)
    with networks.building(0, "meta"):
        built = networks.build(parts.plugins.model)
    with pytest.raises(ModelFolderError, match="faceswap has no layer 'ClassToken'"):
        config_of(built)


def test_a_rate_found_by_a_run_comes_before_an_imported_one() -> None:
    trained = {"addons": {"lr_finder": {"found": 3e-5}}}
    imported = {"addon.lr_finder": {"found": 7e-5}}
    assert exporting._found_rate(trained, imported, {}) == 3e-5
    assert exporting._found_rate({"addons": {"lr_finder": {"found": 0.0}}}, imported, {}) == 7e-5
    assert exporting._found_rate({}, {}, {"learning_rate_found": 1e-5}) == 1e-5
    assert exporting._found_rate({}, {}, {}) is None
