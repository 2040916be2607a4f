"""Runs that cannot continue, and who is blamed."""

from __future__ import annotations

import threading

import pytest
import torch
from fs_kernel import hookimpl, open_run
from fs_kernel.cli import run_cli
from fs_kernel.errors import (
    FsError,
    PluginError,
    TrainingError,
)
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import ArrayFeed, PlainTrainer, TinyModel
from fs_kernel.training import observers
from runs import (
    Requesting,
    SteppedTrainer,
    Watching,
    everything_below,
    held,
    identical,
    open_tiny,
    state_of,
    train,
)

# --- failures ---


class Breaking(SteppedTrainer):
    """Does something at one step."""

    def __init__(self, at, action):
        self.at, self.action = at, action

    def after(self, batch, result):
        return self.action(result) if batch.step == self.at else result


def spoil(result):
    import attrs

    bad = [attrs.evolve(loss, total=loss.total * float("nan"), parts=()) for loss in result.losses]
    return attrs.evolve(result, losses=bad)


@pytest.mark.parametrize("metrics", [1, 100])
def test_a_loss_that_is_not_a_number_ends_the_run_and_saves_nothing(tmp_path, events, metrics):
    train(tmp_path, 2)
    before = held(tmp_path)
    values = {"training.metrics_interval": metrics}
    with pytest.raises(TrainingError, match="step 4: the loss is not finite"):
        train(tmp_path, 9, every=2, trainer=Breaking(4, spoil), set=values)
    assert state_of(tmp_path)["iterations"] == 2
    assert identical(held(tmp_path), before)
    assert events(tmp_path, "finished")[-1]["reason"] == "failed"
    assert train(tmp_path, 3).step == 3


def test_a_loss_that_is_not_a_number_at_the_very_last_step(tmp_path):
    with pytest.raises(TrainingError, match="step 3"):
        train(tmp_path, 3, trainer=Breaking(3, spoil), set={"training.metrics_interval": 100})
    assert not Checkpoints(tmp_path / "model").exists()


CPU = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA"), CPU])
def test_out_of_memory_names_the_batch_size(tmp_path, error):
    def raise_it(_):
        raise error

    with pytest.raises(TrainingError, match=r"step 2: out of memory at batch size 4; try -b 2"):
        train(tmp_path, 3, trainer=Breaking(2, raise_it))


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
    with pytest.raises(TrainingError, match="not finite"):
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
    with pytest.raises(PluginError, match=r"trainer 'plain' returned .* from train_step"):
        train(tmp_path, 4, trainer=Breaking(2, action))
    assert state_of(tmp_path)["iterations"] == 1


@pytest.mark.parametrize("total", [1.0, torch.ones(2), None])
def test_a_loss_that_is_not_a_scalar_tensor_is_blamed(tmp_path, total):
    import attrs

    def action(result):
        losses = [attrs.evolve(loss, total=total) for loss in result.losses]
        return attrs.evolve(result, losses=losses)

    with pytest.raises(PluginError, match=r"trainer 'plain'.*train_step"):
        train(tmp_path, 4, trainer=Breaking(2, action))


def test_a_trainer_whose_state_cannot_be_saved_is_blamed(tmp_path):
    class Odd(PlainTrainer):
        @hookimpl
        def create_trainer(self, run):
            made = super().create_trainer(run)
            made.state_dict = lambda: {"x": object()}
            return made

    with pytest.raises(PluginError, match=r"trainer 'plain' failed in .*cannot hold a object"):
        train(tmp_path, 1, trainer=Odd())


def test_a_trainer_that_cannot_take_its_state_back_is_blamed(tmp_path):
    class Forgetful(PlainTrainer):
        @hookimpl
        def create_trainer(self, run):
            made = super().create_trainer(run)
            made.load_state_dict = self.refuse
            return made

        def refuse(self, state):
            raise KeyError("exp_avg")

    train(tmp_path, 1)
    before = everything_below(tmp_path)
    with pytest.raises(PluginError, match="'plain' failed in load_state_dict: KeyError"):
        open_tiny(tmp_path, 2, trainer=Forgetful())
    assert everything_below(tmp_path) == before


def test_an_observer_that_fails_is_one_warning(tmp_path, events):
    class Failing:
        def on_metrics(self, metrics):
            raise ValueError("tired")

    fine = Requesting("save", -1)
    assert train(tmp_path, 5, addons=[Watching(Failing(), name="failing"), fine]).step == 5
    (warning,) = events(tmp_path, "warning")
    assert "add-on 'failing' failed in on_metrics and is switched off" in warning["message"]
    assert fine.heard[-1].reason == "target"


def test_a_hanging_observer_does_not_keep_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(observers, "_CLOSE_SECONDS", 0.1)
    release = threading.Event()

    class Hanging:
        def on_start(self, info):
            release.wait(30)

    assert train(tmp_path, 3, addons=[Watching(Hanging())]).step == 3
    release.set()


def test_an_addon_that_fails_at_the_start_leaves_no_threads(tmp_path):
    class Failing:
        name = "failing"

        @hookimpl
        def create_addon(self):
            return self

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
