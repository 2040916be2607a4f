"""What a run takes in and writes down: options, folders, weights, events."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from fs_kernel import hookimpl, networks
from fs_kernel.errors import (
    ConfigError,
    FacesError,
    ModelFolderError,
    PluginError,
    UsageError,
)
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import PlainTrainer, TinyModel
from runs import everything_below, held, open_tiny, state_of, train

# --- what is written ---


def test_saves_come_in_their_interval_and_once_at_the_end(tmp_path, events):
    # One that is still being written when the next is due postpones that one.
    train(tmp_path, 6, every=2)
    steps = [e["step"] for e in events(tmp_path, "saved")]
    assert steps in ([2, 4, 6], [2, 5, 6], [2, 6])
    assert state_of(tmp_path)["stop_reason"] == "target"
    train(tmp_path, 7, every=2)
    assert [e["step"] for e in events(tmp_path, "saved")] == [*steps, 7]
    assert state_of(tmp_path)["stop_reason"] == "target"


def test_events_follow_their_schema(tmp_path, events):
    train(tmp_path, 4, every=2, set={"training.metrics_interval": 2})
    found = events(tmp_path)
    assert all({"v", "event", "time", "step"} <= set(e) and e["v"] == 1 for e in found)
    # A save ends when it ends: only what happens in the training thread has an order.
    others = [e for e in found if e["event"] != "saved"]
    assert [e["event"] for e in others] == ["started", "metrics", "metrics", "finished"]
    saved = [e for e in found if e["event"] == "saved"]
    assert [e["step"] for e in saved] == [2, 4]
    assert (found[0]["target"], found[0]["session"], found[0]["step"]) == (4, 1, 0)
    metrics = found[1]
    assert set(metrics["losses"]) == {"a", "b"}
    assert set(metrics["parts"]["a"]) == {"face_16/mse"}
    assert metrics["images_per_second"] > 0
    assert saved[0]["generation"] == "000000002"
    assert saved[0]["bytes"] > 100_000
    assert (found[-1]["reason"], found[-1]["error"]) == ("target", None)


def test_run_json_says_what_was_run(tmp_path):
    train(tmp_path, 1, set={"save.keep": 3})
    facts = json.loads((tmp_path / "model/logs/run.json").read_text())
    assert (facts["model"], facts["trainer"], facts["seed"]) == ("tiny", "plain", 1)
    assert facts["options"]["save"]["keep"] == 3
    assert facts["origins"]["save.keep"] == "--set"
    assert facts["faces_fingerprint"] == "arrays"
    assert facts["device"] == "cpu"
    assert facts["face_counts"] == {"a": 32, "b": 32}
    assert {p["kind"] for p in facts["plugins"]} == {"models", "trainers", "feeds", "executors"}
    assert facts["libraries"]["torch"] == torch.__version__
    assert (tmp_path / "model/logs/run_0001.json").exists()


def test_a_drawn_seed_is_remembered(tmp_path):
    train(tmp_path, 1, set={"training.seed": "none"})
    config = (tmp_path / "model/checkpoints/000000001/config.toml").read_text()
    seed = state_of(tmp_path)["sessions"][0]["seed"]
    assert f"seed = {seed}\n" in config
    train(tmp_path, 2)
    assert state_of(tmp_path)["sessions"][0]["seed"] == seed


@pytest.mark.parametrize(("policy", "holds"), [("always", True), ("exit", True), ("never", False)])
def test_when_the_optimizer_is_saved(tmp_path, policy, holds):
    train(tmp_path, 4, every=2, set={"save.optimizer": policy})
    assert ("trainer" in held(tmp_path)[1]) == holds
    checkpoints = Checkpoints(tmp_path / "model")
    assert ("trainer" in checkpoints.read_training("000000002")) == (policy == "always")


def test_without_its_optimizer_a_run_resumes_with_a_warning(tmp_path):
    train(tmp_path, 2, set={"save.optimizer": "never"})
    with open_tiny(tmp_path, 3) as run:
        assert any("no trainer state" in line for line in run.warnings)
        assert run.train().step == 3


# --- options ---


def test_fixed_options_hold_and_others_may_change(tmp_path):
    train(tmp_path, 1, set={"model.tiny.width": 8})
    with pytest.raises(ConfigError, match=r"model\.tiny\.width is fixed at 8"):
        open_tiny(tmp_path, 2, set={"model.tiny.width": 9})
    with open_tiny(tmp_path, 2, set={"model.tiny.dropout": 0.5}) as run:
        assert run.config["model.tiny"].width == 8
        assert run.config["training"].batch_size == 4


def test_every_wrong_option_is_named_and_nothing_is_made(tmp_path):
    with pytest.raises(ConfigError) as caught:
        open_tiny(tmp_path, 1, set={"model.tiny.widht": 8, "traning.x": 1, "save.keep": 0})
    assert len(caught.value.problems) == 3
    assert not (tmp_path / "model").exists()


def test_wrong_sides_and_folders(tmp_path):
    with pytest.raises(UsageError, match="no side 'c'"):
        open_tiny(tmp_path, 1, folders={"c": tmp_path})
    with pytest.raises(FacesError, match="folder of side B does not exist"):
        open_tiny(tmp_path, 1, b=tmp_path / "gone")
    with pytest.raises(UsageError, match="side B: pass -B FOLDER"):
        open_tiny(tmp_path, 1, b=None)
    assert not (tmp_path / "model").exists()


def test_folders_are_remembered(tmp_path):
    train(tmp_path, 1)
    with open_tiny(tmp_path, 2, a=None, b=None) as run:
        assert run.train().step == 2
    assert state_of(tmp_path)["folders"] == {"a": str(tmp_path / "a"), "b": str(tmp_path / "b")}


def test_faces_may_lie_in_a_folder_of_any_name(tmp_path, events):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff \xc3\xa4"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    assert train(tmp_path, 2, a=odd).step == 2
    assert train(tmp_path, 3, a=None, b=None).step == 3


# --- freezing and loading ---


def test_frozen_weights_do_not_change(tmp_path):
    with open_tiny(tmp_path, 3, set={"training.freeze_weights": True}) as run:
        before = {n: v.clone() for n, v in networks.weights(run.network).items()}
        run.train()
        after = networks.weights(run.network)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if name.startswith("encoder")]
    assert {n for n in before if n.startswith("decoder")} == changed


def test_thawed_weights_change_again(tmp_path):
    train(tmp_path, 2, set={"training.freeze_weights": True})
    before = held(tmp_path)[0]
    train(tmp_path, 4, set={"training.freeze_weights": False})
    after = held(tmp_path)[0]
    assert not torch.equal(before["encoder/conv/kernel"], after["encoder/conv/kernel"])


def test_f6_a_new_model_may_start_from_anothers_weights_and_says_what_matched(tmp_path, events):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    train(tmp_path / "one", 2)
    before = everything_below(tmp_path / "one/model")
    weights = held(tmp_path / "one")[0]
    run = open_tiny(tmp_path / "two", 1, load_weights=tmp_path / "one/model")
    got = {n: v.clone() for n, v in networks.weights(run.network).items()}
    run.close()
    same = {name for name in got if torch.equal(got[name], weights[name])}
    assert {n for n in got if n.startswith("encoder")} <= same
    assert "decoder_a/conv/kernel" not in same
    assert everything_below(tmp_path / "one/model") == before
    (note,) = events(tmp_path / "two", "note")
    count = sum(name.startswith("encoder/") for name in got)
    assert note["message"].endswith(f"model (tiny, step 2): encoder {count} of {count}")
    assert not any("weights loaded" in line for line in run.warnings)


def test_f6_some_shapes_that_differ_are_a_warning_that_names_the_first(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    train(tmp_path / "one", 1)
    source, wider = tmp_path / "one/model", {"model.tiny.width": 24}
    with open_tiny(tmp_path / "two", 1, load_weights=source, set=wider) as run:
        (line,) = (line for line in run.warnings if "weights loaded" in line)
        names = [name for name in networks.weights(run.network) if name.startswith("encoder/")]
    # The bias of the dense layer is all that does not depend on the width.
    assert f"encoder 1 of {len(names)}; the first that does not fit: encoder/conv/kernel is" in line


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (None, "old holds no model"),
        ([], "old holds no model"),
        (["original.keras"], "another program's model .original.keras.; adopt it with:"),
    ],
)
def test_weights_of_nothing_of_ours_are_an_error_and_make_no_folder(tmp_path, files, says):
    for name in files or ():
        (tmp_path / "old").mkdir(exist_ok=True)
        (tmp_path / "old" / name).touch()
    if files == []:
        (tmp_path / "old").mkdir()
    with pytest.raises(ModelFolderError, match=says):
        open_tiny(tmp_path, 1, load_weights=tmp_path / "old")
    assert not (tmp_path / "model").exists()


def test_weights_are_not_loaded_into_a_model_that_resumes(tmp_path):
    train(tmp_path, 1)
    with open_tiny(tmp_path, 2, load_weights=tmp_path / "model") as run:
        assert any("--load-weights is for a new model" in line for line in run.warnings)


# --- plugins by object, path, name ---


def test_plugins_may_be_paths_and_classes(tmp_path):
    file = tmp_path / "my_net.py"
    file.write_text(
        "from fs_kernel import hookimpl\n"
        "from fs_kernel.testing.plugins import TinyModel\n"
        "tiny = TinyModel()\n"
        "config_defaults, network_spec = tiny.config_defaults, tiny.network_spec\n"
        "build_model = tiny.build_model\n"
    )
    assert train(tmp_path, 1, model=str(file), trainer=PlainTrainer).step == 1
    assert state_of(tmp_path)["model"] == "my_net"


def test_a_network_with_layers_of_its_own(tmp_path):
    import attrs
    import keras

    class Doubling(keras.layers.Layer):
        def call(self, x):
            return x * 2.0

    class Own(TinyModel):
        @hookimpl
        def build_model(self, inputs, config):
            network = super().build_model(inputs, config)
            doubled = [Doubling()(tensor) for tensor in network.model.outputs]
            model = keras.Model(list(inputs.values()), doubled, name="own")
            return attrs.evolve(network, model=model)

    class Named(Own):
        @hookimpl
        def custom_objects(self):
            return {"Doubling": Doubling}

    with pytest.raises(PluginError, match=r"Doubling, which could not be read back.*name it in"):
        open_tiny(tmp_path, 2, model=Own())
    assert not (tmp_path / "model").exists()
    assert train(tmp_path, 2, model=Named()).step == 2
    with pytest.raises(ModelFolderError, match=r"Doubling, which is neither plain Keras nor"):
        open_tiny(tmp_path, 3, model=Own())
    assert train(tmp_path, 3, model=Named()).step == 3


@pytest.mark.parametrize("name", ["other", "toy", "tiny_one", "tin"])
def test_f5_another_model_in_the_folder_is_refused_however_alike_their_names(tmp_path, name):
    train(tmp_path, 1)
    before = everything_below(tmp_path)
    other = type("Other", (TinyModel,), {"name": name})()
    with pytest.raises(ModelFolderError, match=f"is a model of 'tiny', not of '{name}'"):
        open_tiny(tmp_path, 2, model=other)
    assert everything_below(tmp_path) == before


def test_a_network_that_changed_is_refused_with_what_made_it(tmp_path):
    train(tmp_path, 1)

    class Changed(TinyModel):
        @hookimpl
        def adapt_model(self, network):
            from fs_kernel import Network, Output
            from keras import Input, Model, layers

            start = Input((16, 16, 3))
            faces = [layers.Conv2D(3, 1, name=f"new_{side}")(start) for side in "ab"]
            outputs = [Output(side, "face", 16) for side in "ab"]
            return Network(Model([start, Input((16, 16, 3))], faces), outputs)

    with pytest.raises(ModelFolderError, match=r"checkpoint 000000001 does not fit model 'tiny'"):
        open_tiny(tmp_path, 2, model=Changed())


@pytest.mark.parametrize("name", ["model.h5", "original.keras", "me_SAEHD_data.dat"])
def test_other_programs_models_are_pointed_to_import(tmp_path, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / name).write_bytes(b"x")
    with pytest.raises(ModelFolderError, match=rf"{name}.*fs import"):
        open_tiny(tmp_path, 1)
    assert [p.name for p in (tmp_path / "model").iterdir()] == [name]
