"""The life of a run: totals, seeds, stopping, failing, saving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from fs_kernel import checkpoint, hookimpl, network, observers, open_run
from fs_kernel.checkpoint import Checkpoints
from fs_kernel.cli import run_cli
from fs_kernel.errors import (
    ConfigError,
    FacesError,
    FsError,
    ModelFolderError,
    PluginError,
    TrainingError,
    UsageError,
)
from fs_kernel.testing import ArrayFeed, PlainTrainer, TinyModel, tiny_run


def open_tiny(folder, steps, *, every=0, **arguments):
    values = {"training.iterations": steps, "save.interval": every}
    return tiny_run(folder, set=values | arguments.pop("set", {}), **arguments)


def train(folder, steps, **arguments):
    with open_tiny(folder, steps, **arguments) as run:
        return run.train()


def held(folder):
    """Weights and the whole training state of the generation that counts."""
    checkpoints = Checkpoints(folder / "model")
    name = checkpoints.choose(lambda line: pytest.fail(line))
    return checkpoints.read_weights(name), checkpoints.read_training(name)


def state_of(folder):
    checkpoints = Checkpoints(folder / "model")
    return checkpoints.read_state(checkpoints.choose(lambda line: None))


def identical(a, b):
    if isinstance(a, dict):
        return list(a) == list(b) and all(identical(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return a.tolist() == b.tolist() if hasattr(a, "tolist") else a == b


def losses(folder, events):
    return [(e["step"], e["losses"]) for e in events(folder, "metrics")]


def everything_below(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- totals, seeds, resuming ---


def test_iterations_are_the_total_over_all_sessions(tmp_path):
    assert train(tmp_path, 3).step == 3
    outcome = train(tmp_path, 5)
    assert (outcome.reason, outcome.step) == ("target", 5)
    state = state_of(tmp_path)
    assert (state["iterations"], state["target_iterations"]) == (5, 5)
    assert [s["steps"] for s in state["sessions"]] == [3, 2]
    assert train(tmp_path, 4).step == 5


def test_one_seed_gives_one_run_to_the_bit(tmp_path, events):
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        (tmp_path / name).mkdir()
        train(tmp_path / name, 4, set={"training.seed": seed})
    one, two, three = (tmp_path / n for n in ("one", "two", "three"))
    assert losses(one, events) == losses(two, events)
    assert losses(one, events) != losses(three, events)
    assert identical(held(one), held(two))


@pytest.mark.parametrize("stops", [(3,), (1, 2, 4)])
def test_stopping_and_resuming_changes_nothing(tmp_path, events, stops):
    """Dropout, noise, moments, order of faces: all as if nothing had happened."""
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", 6)
    for target in (*stops, 6):
        torch.manual_seed(target * 1000)
        train(tmp_path / "stopped", target)
    assert losses(tmp_path / "straight", events) == losses(tmp_path / "stopped", events)
    assert identical(held(tmp_path / "straight"), held(tmp_path / "stopped"))


def test_dropout_and_noise_are_at_work(tmp_path, events):
    """Without them the tests of exact resuming would prove little."""
    for name, rate in (("with", 0.5), ("without", 0.0)):
        (tmp_path / name).mkdir()
        train(tmp_path / name, 2, set={"model.tiny.dropout": rate})
    assert losses(tmp_path / "with", events) != losses(tmp_path / "without", events)


CHILD = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
from pathlib import Path
from fs_kernel.testing import tiny_run
values = {"training.iterations": 1000000, "save.interval": 2}
with tiny_run(Path(sys.argv[1]), set=values) as run:
    for metrics in run:
        print(metrics.step, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_resumes_exactly_from_its_last_checkpoint(tmp_path, events):
    for name in ("killed", "straight"):
        (tmp_path / name).mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        text=True,
    )
    try:
        for line in child.stdout:
            if int(line) >= 5:
                break
    finally:
        child.kill()
        child.wait()
    start = state_of(tmp_path / "killed")["iterations"]
    assert start >= 4
    assert start % 2 == 0
    target = start + 3
    outcome = train(tmp_path / "killed", target)
    assert outcome.step == target
    train(tmp_path / "straight", target)
    assert identical(held(tmp_path / "straight"), held(tmp_path / "killed"))
    assert losses(tmp_path / "straight", events)[-3:] == losses(tmp_path / "killed", events)[-3:]


# --- iterating, requests, closing ---


def test_a_run_is_iterated_step_by_step(tmp_path):
    with open_tiny(tmp_path, 3) as run:
        seen = [metrics.step for metrics in run]
    assert seen == [1, 2, 3]
    assert state_of(tmp_path)["iterations"] == 3


def test_breaking_out_of_a_loop_saves(tmp_path):
    with open_tiny(tmp_path, 100) as run:
        for metrics in run:
            if metrics.step == 2:
                break
    assert state_of(tmp_path)["iterations"] == 2
    assert state_of(tmp_path)["stop_reason"] == "stopped"


def test_a_run_that_was_not_trained_leaves_no_checkpoint(tmp_path):
    with open_tiny(tmp_path, 3):
        pass
    assert not Checkpoints(tmp_path / "model").exists()


def test_closing_twice_and_after_the_end_is_fine(tmp_path, events):
    run = open_tiny(tmp_path, 2)
    run.train()
    run.close()
    run.close()
    assert len(events(tmp_path, "finished")) == 1


def test_closing_without_saving(tmp_path):
    run = open_tiny(tmp_path, 5)
    next(iter(run))
    run.close(save=False)
    assert not Checkpoints(tmp_path / "model").exists()


def test_an_error_of_the_caller_in_the_loop_does_not_save(tmp_path, events):
    train(tmp_path, 2)

    def misuse():
        with open_tiny(tmp_path, 9) as run:
            for _ in run:
                raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        misuse()
    assert state_of(tmp_path)["iterations"] == 2
    (finished,) = events(tmp_path, "finished")[1:]
    assert (finished["reason"], finished["error"]) == ("failed", "ZeroDivisionError: mine")
    assert "mine" in (tmp_path / "model/logs/errors.log").read_text()


class Requesting:
    """An add-on that asks for something at a step, from its own thread."""

    name = "requesting"

    def __init__(self, what, at):
        self.what, self.at, self.heard = what, at, []

    @hookimpl
    def make_observers(self, run):
        self.run = run
        return [self]

    def on_metrics(self, metrics):
        if metrics.step == self.at:
            getattr(self.run, f"request_{self.what}")()

    def on_preview(self, preview):
        self.heard.append(preview)

    def on_checkpoint(self, saved):
        self.heard.append(saved)

    def on_finish(self, outcome):
        self.heard.append(outcome)


def test_a_stop_request_finishes_the_step_and_saves(tmp_path):
    run = open_tiny(tmp_path, 100_000)
    threading.Timer(0.2, run.request_stop).start()
    outcome = run.train()
    assert outcome.reason == "stopped"
    assert 0 < outcome.step < 100_000
    state = state_of(tmp_path)
    assert (state["iterations"], state["stop_reason"]) == (outcome.step, "stopped")


def test_an_addon_can_stop_a_run(tmp_path):
    addon = Requesting("stop", 2)
    outcome = train(tmp_path, 100_000, addons=[addon])
    assert outcome.reason == "stopped"
    assert addon.heard[-1] == outcome


def test_a_save_request_saves_between_steps(tmp_path, events):
    run = open_tiny(tmp_path, 4)
    for metrics in run:
        if metrics.step == 2:
            run.request_save()
    run.close()
    assert [e["step"] for e in events(tmp_path, "saved")] == [2, 4]


def test_a_preview_request_gives_every_direction(tmp_path, events):
    addon = Requesting("preview", -1)
    with open_tiny(tmp_path, 3, addons=[addon]) as run:
        for metrics in run:
            if metrics.step == 1:
                run.request_preview(5)
    (preview,) = [x for x in addon.heard if hasattr(x, "swaps")][:1]
    assert preview.step == 2 or preview.step == 1
    assert set(preview.swaps) == {(s, t) for s in "ab" for t in "ab"}
    assert preview.swaps["a", "b"].shape == (5, 16, 16, 3)
    assert preview.swaps["a", "b"].dtype == "uint8"
    assert events(tmp_path, "preview")


def test_a_preview_does_not_change_training(tmp_path, events):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    train(tmp_path / "without", 4)
    with open_tiny(tmp_path / "with", 4) as run:
        for _ in run:
            run.request_preview()
    assert losses(tmp_path / "with", events) == losses(tmp_path / "without", events)
    assert identical(held(tmp_path / "with"), held(tmp_path / "without"))


def test_a_time_limit_ends_the_run_saved(tmp_path):
    with open_tiny(tmp_path, 10**6) as run:
        outcome = run.train(max_seconds=0.2)
    assert outcome.reason == "time"
    assert state_of(tmp_path)["iterations"] == outcome.step > 0


# --- what is written ---


def test_saves_come_in_their_interval_and_once_at_the_end(tmp_path, events):
    train(tmp_path, 6, every=2)
    assert [e["step"] for e in events(tmp_path, "saved")] == [2, 4, 6]
    assert state_of(tmp_path)["stop_reason"] == "target"
    train(tmp_path, 8, every=2)
    assert [e["step"] for e in events(tmp_path, "saved")] == [2, 4, 6, 8]
    assert state_of(tmp_path)["stop_reason"] == "target"


def test_events_follow_their_schema(tmp_path, events):
    train(tmp_path, 4, every=2, set={"training.metrics_interval": 2})
    found = events(tmp_path)
    assert all({"v", "event", "time", "step"} <= set(e) and e["v"] == 1 for e in found)
    assert [e["event"] for e in found] == [
        "started",
        "metrics",
        "saved",
        "metrics",
        "saved",
        "finished",
    ]
    assert (found[0]["target"], found[0]["session"], found[0]["step"]) == (4, 1, 0)
    metrics = found[1]
    assert set(metrics["losses"]) == {"a", "b"}
    assert set(metrics["parts"]["a"]) == {"face_16/mse"}
    assert metrics["images_per_second"] > 0
    assert found[2]["generation"] == "000000002"
    assert found[2]["bytes"] > 100_000
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
    with pytest.raises(UsageError, match="where the faces of B are: -B FOLDER"):
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
        before = {n: v._value.clone() for n, v in network.weights(run.network).items()}
        run.train()
        after = {n: v._value for n, v in network.weights(run.network).items()}
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


def test_a_new_model_may_start_from_anothers_weights(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    train(tmp_path / "one", 2)
    before = everything_below(tmp_path / "one/model")
    weights = held(tmp_path / "one")[0]
    run = open_tiny(tmp_path / "two", 1, load_weights=tmp_path / "one/model")
    got = {n: v._value.clone() for n, v in network.weights(run.network).items()}
    run.close()
    same = {name for name in got if torch.equal(got[name], weights[name])}
    assert {n for n in got if n.startswith("encoder")} <= same
    assert "decoder_a/conv/kernel" not in same
    assert any("copied" in line for line in run.warnings)
    assert everything_below(tmp_path / "one/model") == before


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


def test_another_model_in_the_folder_is_refused(tmp_path):
    train(tmp_path, 1)

    class Other(TinyModel):
        name = "other"

    before = everything_below(tmp_path)
    with pytest.raises(ModelFolderError, match="holds a 'tiny' model, not 'other'"):
        open_tiny(tmp_path, 2, model=Other())
    assert everything_below(tmp_path) == before


def test_a_network_that_changed_is_refused_with_what_made_it(tmp_path):
    train(tmp_path, 1)

    class Changed(TinyModel):
        @hookimpl
        def adapt_model(self, network):
            from keras import Input, Model, layers

            start = Input((16, 16, 3))
            network.extra["more"] = Model(start, layers.Dense(2)(start))
            return network

    with pytest.raises(ModelFolderError, match=r"other weights than generation 000000001"):
        open_tiny(tmp_path, 2, model=Changed())


@pytest.mark.parametrize("name", ["model.h5", "original.keras", "me_SAEHD_data.dat"])
def test_other_programs_models_are_pointed_to_import(tmp_path, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / name).write_bytes(b"x")
    with pytest.raises(ModelFolderError, match=rf"{name}.*fs import"):
        open_tiny(tmp_path, 1)
    assert [p.name for p in (tmp_path / "model").iterdir()] == [name]


# --- failures ---


class Breaking(PlainTrainer):
    """Does something at one step."""

    def __init__(self, at, action):
        self.at, self.action = at, action

    @hookimpl
    def train_batch(self, state, batch):
        result = super().train_batch(state, batch)
        return self.action(result) if batch.step == self.at else result


def spoil(result):
    import attrs

    bad = [attrs.evolve(loss, total=loss.total * float("nan"), parts=()) for loss in result.losses]
    return attrs.evolve(result, losses=bad)


@pytest.mark.parametrize("metrics", [1, 100])
def test_a_loss_that_is_no_number_ends_the_run_and_saves_nothing(tmp_path, events, metrics):
    train(tmp_path, 2)
    before = held(tmp_path)
    values = {"training.metrics_interval": metrics}
    with pytest.raises(TrainingError, match="step 4: the loss is no finite number"):
        train(tmp_path, 9, every=2, trainer=Breaking(4, spoil), set=values)
    assert state_of(tmp_path)["iterations"] == 2
    assert identical(held(tmp_path), before)
    assert events(tmp_path, "finished")[-1]["reason"] == "failed"
    assert train(tmp_path, 3).step == 3


def test_a_loss_that_is_no_number_at_the_very_last_step(tmp_path):
    with pytest.raises(TrainingError, match="step 3"):
        train(tmp_path, 3, trainer=Breaking(3, spoil), set={"training.metrics_interval": 100})
    assert not Checkpoints(tmp_path / "model").exists()


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA")])
def test_out_of_memory_names_the_batch_size(tmp_path, error):
    def raise_it(_):
        raise error

    with pytest.raises(TrainingError, match=r"step 2: out of memory at batch size 4; try -b 2"):
        train(tmp_path, 3, trainer=Breaking(2, raise_it))


def full_disk(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_does_not_stop_training(tmp_path, events, monkeypatch):
    train(tmp_path, 2)
    run = open_tiny(tmp_path, 12, every=3)
    for metrics in run:
        if metrics.step == 4:
            monkeypatch.setattr(checkpoint, "save_tensors", full_disk)
        if metrics.step == 9:
            monkeypatch.undo()
    run.close()
    assert [e["step"] for e in events(tmp_path, "save_failed")] == [5, 8]
    assert [e["step"] for e in events(tmp_path, "saved")] == [2, 11, 12]
    messages = [e["message"] for e in events(tmp_path, "warning")]
    assert len(messages) == 2
    assert "No space left" in messages[0]
    assert "checkpoint of step 2 is intact" in messages[0]
    assert "training goes on" in messages[0]
    assert state_of(tmp_path)["iterations"] == 12


def test_a_full_disk_at_the_end_is_an_error_that_loses_nothing(tmp_path, monkeypatch):
    train(tmp_path, 2)
    before = held(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", full_disk)
        with pytest.raises(ModelFolderError, match=r"could not save step 4.*step 2 is intact"):
            train(tmp_path, 4)
    assert identical(held(tmp_path), before)
    assert train(tmp_path, 4).step == 4


def test_a_full_disk_at_the_first_save_promises_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "save_tensors", full_disk)
    with pytest.raises(ModelFolderError, match="No space left") as caught:
        train(tmp_path, 1)
    assert "intact" not in str(caught.value)


def test_a_disk_that_is_too_small_is_found_at_the_start(tmp_path, monkeypatch):
    from fs_kernel import startup

    usage = shutil_usage(free=1000)
    monkeypatch.setattr(startup.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ModelFolderError, match=r"saving needs about .* GB more"):
        open_tiny(tmp_path, 1)


def shutil_usage(free):
    from collections import namedtuple

    return namedtuple("usage", "total used free")(free, 0, free)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(ModelFolderError, match="is a file; a model needs a folder"):
        open_tiny(tmp_path, 1)
    assert (tmp_path / "model").read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    from fs_kernel import store

    train(tmp_path, 1)
    before = everything_below(tmp_path)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ModelFolderError, match=r"cannot write in .*: Read-only file system"):
        open_tiny(tmp_path, 2)
    assert everything_below(tmp_path) == before


def test_logs_that_cannot_be_written_are_found_at_the_start(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/logs").write_text("in the way")
    with pytest.raises(ModelFolderError, match=r"cannot write in .*logs"):
        open_tiny(tmp_path, 1)


def test_a_damaged_generation_is_passed_over_with_a_warning(tmp_path):
    train(tmp_path, 4, every=2)
    (tmp_path / "model/checkpoints/000000004/weights.safetensors").write_bytes(b"x")
    with open_tiny(tmp_path, 5) as run:
        assert run.step == 2
        assert any("000000004" in line and "000000002 instead" in line for line in run.warnings)
        assert run.train().step == 5
    assert state_of(tmp_path)["iterations"] == 5


class BadFeed(ArrayFeed):
    """A feed one of whose methods raises."""

    def __init__(self, method, error):
        self.method, self.error = method, error

    @hookimpl
    def open_feed(self, folders, spec):
        feed = super().open_feed(folders, spec)

        def fail(*_):
            raise self.error

        setattr(feed, self.method, fail)
        return feed


@pytest.mark.parametrize("method", ["start", "next"])
@pytest.mark.parametrize("error", [ValueError("corrupt"), SystemExit(3)])
def test_a_feed_that_fails_is_blamed(tmp_path, method, error):
    with pytest.raises(PluginError, match=rf"feed 'arrays' failed in {method}: "):
        train(tmp_path, 2, feed=BadFeed(method, error))


def test_a_feed_that_cannot_draw_a_preview_is_blamed(tmp_path):
    run = open_tiny(tmp_path, 3, feed=BadFeed("preview", ValueError("x")))
    run.request_preview()
    with pytest.raises(PluginError, match="feed 'arrays' failed in preview: ValueError: x"):
        run.train()


def test_a_feed_that_cannot_close_spoils_nothing(tmp_path, events):
    assert train(tmp_path, 2, feed=BadFeed("close", ValueError("x"))).step == 2
    assert "failed in close" in events(tmp_path, "warning")[0]["message"]
    with pytest.raises(TrainingError, match="no finite number"):
        train(tmp_path, 4, feed=BadFeed("close", ValueError("x")), trainer=Breaking(3, spoil))


@pytest.mark.parametrize(
    "action",
    [
        lambda r: None,
        lambda r: r.losses,
        lambda r: __import__("attrs").evolve(r, losses=r.losses[:1]),
        lambda r: __import__("attrs").evolve(r, losses=r.losses[::-1]),
        lambda r: __import__("attrs").evolve(r, losses=[]),
        lambda r: __import__("attrs").evolve(r, losses=[1.0, 2.0]),
    ],
)
def test_a_trainer_that_returns_nonsense_is_blamed(tmp_path, action):
    train(tmp_path, 1)
    with pytest.raises(PluginError, match=r"trainer 'plain' returned .* from train_batch"):
        train(tmp_path, 4, trainer=Breaking(2, action))
    assert state_of(tmp_path)["iterations"] == 1


@pytest.mark.parametrize("total", [1.0, torch.ones(2), None])
def test_a_loss_that_is_no_scalar_tensor_is_blamed(tmp_path, total):
    import attrs

    def action(result):
        losses = [attrs.evolve(loss, total=total) for loss in result.losses]
        return attrs.evolve(result, losses=losses)

    with pytest.raises(PluginError, match=r"trainer 'plain'.*train_batch"):
        train(tmp_path, 4, trainer=Breaking(2, action))


def test_a_trainer_whose_state_cannot_be_saved_is_blamed(tmp_path):
    class Odd(PlainTrainer):
        @hookimpl
        def trainer_state(self, state):
            return {"x": object()}

    with pytest.raises(PluginError, match=r"trainer 'plain' failed in .*cannot hold a object"):
        train(tmp_path, 1, trainer=Odd())


def test_a_trainer_that_cannot_take_its_state_back_is_blamed(tmp_path):
    class Forgetful(PlainTrainer):
        @hookimpl
        def restore_trainer(self, state, tree):
            raise KeyError("exp_avg")

    train(tmp_path, 1)
    before = everything_below(tmp_path)
    with pytest.raises(PluginError, match="'plain' failed in restore_trainer: KeyError"):
        open_tiny(tmp_path, 2, trainer=Forgetful())
    assert everything_below(tmp_path) == before


def test_an_observer_that_fails_is_one_warning(tmp_path, events):
    class Failing:
        name = "failing"

        @hookimpl
        def make_observers(self):
            return [self]

        def on_metrics(self, metrics):
            raise ValueError("tired")

    fine = Requesting("save", -1)
    assert train(tmp_path, 5, addons=[Failing(), fine]).step == 5
    (warning,) = events(tmp_path, "warning")
    assert "add-on 'failing' failed in on_metrics and is switched off" in warning["message"]
    assert fine.heard[-1].reason == "target"


def test_a_hanging_observer_does_not_keep_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(observers, "_CLOSE_SECONDS", 0.1)
    release = threading.Event()

    class Hanging:
        name = "hanging"

        @hookimpl
        def make_observers(self):
            return [self]

        def on_start(self, info):
            release.wait(30)

    assert train(tmp_path, 3, addons=[Hanging()]).step == 3
    release.set()


def test_an_addon_that_fails_at_the_start_leaves_no_threads(tmp_path):
    class Failing:
        name = "failing"

        @hookimpl
        def before_training(self):
            raise ValueError("not today")

    watching = Requesting("save", -1)
    with pytest.raises(PluginError, match="add-on 'failing' failed in before_training"):
        open_tiny(tmp_path, 1, addons=[watching, Failing()])
    assert not [t for t in threading.enumerate() if t.name == "fs-observer-requesting"]


def test_errors_of_the_api_are_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ({"model": "no-such"}, {"trainer": "no-such"}, {"config": "no.toml"}):
        with pytest.raises(FsError):
            open_run("model", **{"model": TinyModel(), **arguments})
    assert list(tmp_path.iterdir()) == []


def test_the_last_checkpoint_survives_a_program_error_in_the_cli(tmp_path, capsys):
    """run_cli never lets a traceback out, whatever happens."""
    train(tmp_path, 1)
    assert run_cli(["model", "info", str(tmp_path / "model")]) == 0
    assert "iterations" in capsys.readouterr().out
