"""Whole models in every format: network, moments, options and state after ``import_model``."""

from __future__ import annotations

import hashlib
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from addon_import import small_models
from fs_addon_import.importing import Imported, import_model
from fs_kernel import networks
from fs_kernel.networks import swapper_network
from fs_kernel.plugins import load_role
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.storage.model_state import ModelState
from fs_kernel.trained_model import TrainedModel

KINDS = ("early", "release", "mixed", "current")


def unpacked(kind: str, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    with zipfile.ZipFile(small_models.DATA / f"{kind}.zip") as archive:
        archive.extractall(folder / kind)
    return folder / kind / "model", dict(np.load(folder / kind / "facts.npz"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Each kind once: its folder, what it should be read as, the new folder and the report."""
    made = {}

    def get(kind: str) -> tuple[Path, dict[str, np.ndarray], Path, Imported]:
        if kind not in made:
            room = tmp_path_factory.mktemp(kind)
            old, facts = unpacked(kind, room)
            made[kind] = old, facts, room / "new", import_model(old, room / "new")
        return made[kind]

    return get


def answers(built, inputs: list[np.ndarray]) -> list[np.ndarray]:
    import torch

    tensors = [torch.from_numpy(array) for array in inputs]
    with torch.no_grad():
        found = built.model(tensors if len(tensors) > 1 else tensors[0], training=False)
    return [t.float().numpy() for t in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_answers_as_it_did(kind: str, imported) -> None:
    _, facts, new, _ = imported(kind)
    trained = TrainedModel(new)
    if kind == "mixed":
        # Its answers were computed in half precision.
        networks.apply_precision(trained.network, "fp16", "cuda")
    found = answers(trained.network, small_models.faces())
    for number, array in enumerate(found):
        assert np.abs(array - facts[f"answer_{number}"]).max() <= 1e-6
    networks.apply_precision(trained.network, "fp32", "cpu")
    model = load_role("models", "original")
    a, b = small_models.faces()
    crossed = answers(trained.network, [b, a])
    for source, target, face in (("a", "b", a), ("b", "a", b)):
        swap = swapper_network(model, trained.network, source, target)
        (swapped,) = answers(swap, [face])
        assert np.abs(swapped - crossed["ab".index(target)]).max() <= 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_every_moment_is_taken_over(kind: str, imported) -> None:
    _, facts, new, made = imported(kind)
    tree = Checkpoints(new).read_training(made.generation)["trainer"]["optimizer"]
    assert tree["steps"] == made.optimizer_step == 2
    named = networks.variables(TrainedModel(new).network)
    trained = [name for name, variable in named.items() if variable.trainable]
    kept = {key: value for key, value in facts.items() if not key.startswith("answer")}
    assert set(tree["weights"]) == set(trained)
    for key, value in kept.items():
        place, slot = key.split("/")
        entry = tree["weights"][trained[int(place)]]
        found = entry["values"][slot].numpy()
        assert found.dtype == np.float32
        assert np.array_equal(found, value)
        assert entry["shape"] == list(named[trained[int(place)]].shape)


def test_the_loss_scaler_is_taken_over(imported) -> None:
    _, _, new, made = imported("mixed")
    tree = Checkpoints(new).read_training(made.generation)["trainer"]["optimizer"]
    assert tree["scaler"] == {
        "scale": 32768.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 2,
    }


def test_state_and_options_are_taken_over(imported) -> None:
    _, _, new, made = imported("current")
    checkpoints = Checkpoints(new)
    state = ModelState.from_json(checkpoints.read_state(made.generation), "state")
    assert (state.model, state.iterations, state.fingerprint != "") == ("original", 3, True)
    assert [(s.steps, s.first_step, s.batch_size) for s in state.sessions] == [(1, 0, 4), (2, 1, 8)]
    config = tomllib.loads(checkpoints.config_path(made.generation).read_text())
    assert config["face"]["centering"] == "head"
    assert config["face"]["coverage"] == 87.5
    assert config["face"]["mask_blur_kernel"] == 5
    assert config["loss"]["loss_function"] == "mse"
    assert config["optimizer"]["learning_rate"] == 2e-5  # Of the last session.
    assert config["model.original"]["lowmem"] is True
    assert config["save"]["optimizer"] == "always"  # Also at exit, and exact after a crash.
    assert config["training"]["batch_size"] == 8
    assert config["training"]["iterations"] == 1_000_003
    assert config["training"]["precision"] == "fp32"


def test_layers_of_the_state_follow_the_precision(imported) -> None:
    _, _, new, _ = imported("early")
    mixed = TrainedModel(new).network.mixed_layers
    assert mixed == ("encoder/conv_4_0_leakyrelu/", "encoder/dense/", "encoder/reshape/")


def test_layers_of_half_precision_follow_the_precision(imported) -> None:
    _, _, new, _ = imported("mixed")
    mixed = set(TrainedModel(new).network.mixed_layers)
    assert {"encoder/conv_4_0_conv2d/", "decoder_a/face_out_a_0_conv2d/"} <= mixed
    assert "decoder_a/face_out_a_0/" not in mixed


@pytest.mark.parametrize("kind", KINDS)
def test_F8_the_new_folder_is_whole_and_the_old_one_untouched(kind: str, tmp_path: Path) -> None:
    old, _ = unpacked(kind, tmp_path)
    before = {
        p: (hashlib.sha256(p.read_bytes()).digest(), p.stat().st_mtime_ns) for p in _files(old)
    }
    made = import_model(old, tmp_path / "deep" / "new")
    checkpoints = Checkpoints(tmp_path / "deep" / "new")
    assert [checkpoints.validation_error(g.name) for g in checkpoints.checkpoints()] == [None]
    assert checkpoints.current_name() == made.generation
    after = {
        p: (hashlib.sha256(p.read_bytes()).digest(), p.stat().st_mtime_ns) for p in _files(old)
    }
    assert after == before
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["new"]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())
