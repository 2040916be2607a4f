"""The guard in runs of the built-in parts: a rate that is far too high spoils the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from addon_runs import events, losses, open_with
from fs_kernel import hookimpl
from fs_kernel.errors import TrainingError
from fs_kernel.storage.checkpoints import Checkpoints
from small_runs import checksums

FRAGILE = str(Path(__file__).parents[1] / "data" / "fragile_loss.py") + ":fragile"
RATE = "optimizer.learning_rate"
OPTIONS = {
    "training.iterations": 12,
    "save.interval": 4,
    "loss.loss_function": FRAGILE,
    "loss.loss_function_2": "none",
}
ROLL_BACK = {"addon.guard.policy": "rollback", "addon.guard.learning_rate_factor": 0.01}


class Reckless:
    """Once a step is done, lets the next ones train with a rate of 1."""

    name = "reckless"

    def __init__(self, step):
        self._step = step

    @hookimpl
    def create_addon(self, run):
        self._run = run
        return self

    def check_metrics(self, metrics):
        if metrics.step == self._step:
            self._step = 0
            self._run.set_option(RATE, 1.0, bounded=False)


def problems(model):
    checkpoints = Checkpoints(model)
    return [checkpoints.validation_error(g.name) for g in checkpoints.checkpoints()]


def generations(model):
    return [g.step for g in Checkpoints(model).checkpoints()]


def test_by_default_it_stops_and_names_step_loss_and_weight(tmp_path, people):
    model = tmp_path / "m"
    run = open_with(model, people, ["guard", Reckless(5)], **OPTIONS)
    with pytest.raises(TrainingError) as error:
        run.train()
    line = str(error.value)
    assert error.value.exit_code == 6
    assert line.startswith("step 7: the loss is not finite (a face_64/")
    assert "fragile = nan" in line
    assert "the first bad weight is encoder/conv_8_0_conv2d/kernel" in line
    assert generations(model) == [4]
    assert problems(model) == [None]
    assert events(model, "finished")[-1]["reason"] == "failed"
    went_on = losses(open_with(model, people, ["guard"], **OPTIONS))
    assert [step for step, _, _ in went_on] == list(range(5, 13))


def test_it_goes_back_with_a_lower_rate_and_trains_on(tmp_path, people):
    model = tmp_path / "m"
    run = open_with(model, people, ["guard", Reckless(5)], **OPTIONS, **ROLL_BACK)
    outcome = run.train()
    assert (outcome.reason, outcome.step) == ("target", 12)
    (back,) = events(model, "rolled_back")
    assert back["step"] == 4
    assert "the first bad weight is encoder" in back["reason"]
    assert any("roll-back 1 of 3 to step 4" in e["message"] for e in events(model, "warning"))
    assert problems(model) == [None, None]
    rates = {e["step"]: e["learning_rate"] for e in events(model, "metrics")}
    assert rates[12] == pytest.approx(0.01)
    with open_with(model, people, ["guard"], **OPTIONS | {"training.iterations": 13}) as run:
        assert run.advance().learning_rate == pytest.approx(0.01)


def test_when_roll_backs_do_not_help_it_stops_with_the_checkpoint_intact(tmp_path, people):
    model = tmp_path / "m"
    never = ROLL_BACK | {"addon.guard.learning_rate_factor": 1.0, "addon.guard.max_rollbacks": 2}
    run = open_with(model, people, ["guard", Reckless(5)], **OPTIONS, **never)
    steps = iter(run)
    while next(steps).step < 5:
        pass
    run._saves.collect(wait=True)
    pointer = (model / "checkpoint.json").read_bytes()
    before = checksums(model / "checkpoints")
    with pytest.raises(TrainingError) as error:
        list(steps)
    run.close(save=False)
    assert error.value.exit_code == 6
    assert len(events(model, "rolled_back")) == 2
    assert any("2 roll-backs did not help" in e["message"] for e in events(model, "warning"))
    assert checksums(model / "checkpoints") == before
    assert (model / "checkpoint.json").read_bytes() == pointer
    assert problems(model) == [None]


def test_without_a_checkpoint_it_stops(tmp_path, people):
    options = OPTIONS | ROLL_BACK | {"save.interval": 100}
    run = open_with(tmp_path / "m", people, ["guard", Reckless(5)], **options)
    with pytest.raises(TrainingError):
        run.train()
    assert generations(tmp_path / "m") == []


EXPLODING = {
    "training.iterations": 60,
    "save.interval": 24,
    "loss.loss_function": "mse",
    "loss.loss_function_2": "none",
    "addon.guard.patience": 3,
}


def test_an_explosion_of_finite_losses_stops_before_it_is_saved(tmp_path, people):
    model = tmp_path / "m"
    run = open_with(model, people, ["guard", Reckless(25)], **OPTIONS | EXPLODING)
    with pytest.raises(TrainingError, match=r"the loss of side [AB] exploded: .* usual"):
        run.train()
    assert generations(model) == [24]
    assert problems(model) == [None]


def test_an_explosion_of_finite_losses_is_rolled_back(tmp_path, people):
    model = tmp_path / "m"
    options = OPTIONS | EXPLODING | ROLL_BACK | {"addon.guard.learning_rate_factor": 0.02}
    options["training.iterations"] = 32
    run = open_with(model, people, ["guard", Reckless(25)], **options)
    assert run.train().step == 32
    back = events(model, "rolled_back")
    assert 1 <= len(back) <= 3
    assert all(e["step"] == 24 and "exploded" in e["reason"] for e in back)


def test_ordinary_training_is_never_called_bad(tmp_path, people):
    options = OPTIONS | {"training.batch_size": 1, "training.iterations": 80}
    options |= {"loss.loss_function": "mse", "addon.guard.patience": 1}
    assert len(losses(open_with(tmp_path / "m", people, ["guard"], **options))) == 80
