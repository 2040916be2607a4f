"""Options that change in a run, trials that leave no trace, and going back to a checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fs_kernel import hookimpl
from fs_kernel.errors import ConfigError, TrainingError
from fs_kernel.options.defaults import KERNEL_SECTIONS
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import PlainTrainer, tiny_run
from runs import SteppedTrainer, Watching, open_tiny


def weights_of(run):
    from fs_kernel import networks

    return {name: w.detach().clone() for name, w in networks.weights(run.network).items()}


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


def event_lines(tmp_path, kind):
    lines = (tmp_path / "model/logs/events.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == kind]


class Addon:
    """An add-on made of the functions it is given."""

    name = "probe"

    def __init__(self, before=None, judge=None, bad=None):
        self._before, self._judge, self._bad = before, judge, bad

    @hookimpl
    def create_addon(self, run):
        self.run = run
        return self

    def before_training(self):
        if self._before:
            self._before(self.run)

    def check_metrics(self, metrics):
        return self._judge(self.run, metrics) if self._judge else None

    def on_bad_step(self, report):
        return self._bad(self.run, report) if self._bad else None


# --- options ---


def test_a_live_option_changes_at_its_step_and_is_remembered(tmp_path):
    with tiny_run(tmp_path, set={"training.iterations": 6}) as run:
        run.set_option("save.interval", "3it", at_step=3)
        seen = [str(run.config["save"].interval) for _ in run]
    assert seen == ["250it"] * 2 + ["3it"] * 4
    assert [e["value"] for e in event_lines(tmp_path, "option")] == ["3it"]
    with tiny_run(tmp_path, set={"training.iterations": 7}) as run:
        assert str(run.config["save"].interval) == "3it"


def test_the_target_may_move_while_training(tmp_path):
    with tiny_run(tmp_path, set={"training.iterations": 3}) as run:
        run.set_option("training.iterations", 5)
        assert run.train().step == 5
    state = json.loads(next((tmp_path / "model/checkpoints").glob("*5/state.json")).read_text())
    assert state["target_iterations"] == 5


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("save.intervall", 3, "there is no option save.intervall; did you mean 'interval'?"),
        ("saves.interval", 3, "saves.interval: this run has no section [saves]"),
        ("interval", 3, "interval: this run has no section []"),
        ("save.keep", 0, "save.keep: 0 is below the smallest value 1"),
        ("save.keep", "x", "save.keep: expected a whole number, got 'x'"),
        ("training.batch_size", 2, "training.batch_size cannot change while training; stop,"),
    ],
)
def test_what_cannot_change_says_why(tmp_path, name, value, line):
    with tiny_run(tmp_path) as run:
        with pytest.raises(ConfigError) as caught:
            run.set_option(name, value)
        assert str(caught.value).startswith(line)
        run.close(save=False)


def test_ranges_bind_users_but_no_program_and_hold_on_resume(tmp_path):
    with tiny_run(tmp_path, set={"training.iterations": 1}) as run:
        run.set_option("save.keep", 500, bounded=False)
        run.train()
    with tiny_run(tmp_path, set={"training.iterations": 2}) as run:
        assert run.config["save"].keep == 500


class Choosy(PlainTrainer):
    """Cannot keep more than five checkpoints."""

    @hookimpl
    def config_defaults(self):
        return {"save": KERNEL_SECTIONS["save"]}

    @hookimpl
    def create_trainer(self, run):
        made = super().create_trainer(run)
        made.on_options_changed = self.refuse
        return made

    def refuse(self, config):
        if config["save"].keep > 5:
            raise ConfigError("more than five is too much")


def test_a_change_that_a_plugin_cannot_do_with_is_put_back(tmp_path):
    with tiny_run(tmp_path, set={"training.iterations": 4}, trainer=Choosy()) as run:
        run.set_option("save.keep", 5, at_step=2)
        run.set_option("save.keep", 6, at_step=3)
        kept = [run.config["save"].keep for _ in run]
    assert kept == [2, 5, 5, 5]
    assert [e["value"] for e in event_lines(tmp_path, "option")] == [5]
    (warning,) = event_lines(tmp_path, "warning")
    assert warning["message"] == "save.keep cannot change: more than five is too much"


# --- trials ---


def test_a_trial_leaves_no_trace(tmp_path):
    straight = tiny_run(tmp_path, set={"training.iterations": 4})
    losses = [metrics.losses for metrics in straight]
    weights = weights_of(straight)
    straight.close(save=False)
    tried = []

    def explore(run):
        with run.trial() as trial:
            for _ in range(3):
                tried.append(trial.step().losses)
            run.set_option("save.keep", 7)
            trial.step()

    other = tmp_path / "other"
    other.mkdir()
    run = tiny_run(other, set={"training.iterations": 4}, addons=[Addon(explore)])
    assert run.step == 0
    assert run.config["save"].keep == 2
    assert [metrics.losses for metrics in run] == losses
    assert same(weights_of(run), weights)
    assert tried == losses[:3]
    run.close(save=False)
    assert event_lines(other, "option") == []


def test_a_trial_that_fails_leaves_no_trace_either(tmp_path):
    def explore(run):
        def fail():
            with run.trial() as trial:
                trial.step()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()

    with tiny_run(tmp_path, addons=[Addon(explore)]) as run:
        assert run.step == 0
        assert run.session.state.sessions[-1].steps == 0
        run.close(save=False)


# --- going back ---


class Poisoned(SteppedTrainer):
    """Spoils a weight at given steps, each once."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def after(self, batch, result):
        if batch.step in self.steps:
            self.steps.remove(batch.step)
            with torch.no_grad():
                next(iter(self.run.parameters().values())).fill_(float("nan"))
        return result


SAVES = {"training.iterations": 8, "save.interval": 2}


def test_going_back_continues_as_if_nothing_had_happened(tmp_path):
    straight = tiny_run(tmp_path, set=SAVES)
    straight.train()
    reports = []

    def again(run, report):
        reports.append(report)
        return True

    other = tmp_path / "other"
    other.mkdir()
    run = tiny_run(other, set=SAVES, trainer=Poisoned(4), addons=[Addon(bad=again)])
    assert run.train().step == 8
    assert same(weights_of(run), weights_of(straight))
    (report,) = reports
    assert (report.checkpoint_step, report.rollbacks) == (2, 0)
    assert report.step in (4, 5)
    assert "conv" in report.reason
    (back,) = event_lines(other, "rolled_back")
    assert back["generation"] == "000000002"
    assert Checkpoints(other / "model").validation_error("000000008") is None
    assert run.session.state.sessions[-1].steps == 8


def test_without_a_vote_the_run_stops_and_says_how_to_go_back(tmp_path):
    run = tiny_run(tmp_path, set=SAVES, trainer=Poisoned(4))
    with pytest.raises(TrainingError) as caught:
        run.train()
    assert "the first bad weight is " in str(caught.value)
    restore = f"fs model restore {tmp_path / 'model'}"
    assert "nothing was saved since. Resume from step 2 with" in str(caught.value)
    assert str(caught.value).endswith(restore)
    assert Checkpoints(tmp_path / "model").current_name() == "000000002"


def test_without_a_checkpoint_no_add_on_is_asked(tmp_path):
    asked = []
    run = tiny_run(
        tmp_path,
        set={"training.iterations": 8},
        trainer=Poisoned(1),
        addons=[Addon(bad=lambda *a: asked.append(a) or True)],
    )
    with pytest.raises(TrainingError, match="Start again with a lower learning rate"):
        run.train()
    assert asked == []


def test_a_finite_loss_may_be_judged_bad_before_it_is_saved(tmp_path):
    verdicts = iter([None, None, None, "the loss has exploded"])
    judged = Addon(judge=lambda run, metrics: next(verdicts, None), bad=lambda *_: True)
    run = tiny_run(tmp_path, set=SAVES, addons=[judged])
    run.train()
    (back,) = event_lines(tmp_path, "rolled_back")
    assert back["reason"] == "step 4: the loss has exploded"


def test_a_step_that_is_bad_again_goes_one_checkpoint_further_back(tmp_path):
    verdicts = {7: 2, 5: 1}

    def judge(run, metrics):
        verdicts[metrics.step] = verdicts.get(metrics.step, 0) - 1
        return "bad" if verdicts[metrics.step] >= 0 else None

    values = {"training.iterations": 8, "save.interval": 0, "save.keep": 9}
    run = tiny_run(tmp_path, set=values, addons=[Addon(judge=judge, bad=lambda *_: True)])
    with run:
        for metrics in run:
            if metrics.step in (2, 4, 6) and metrics.step > run._saves.checkpointer.last_step:
                run.save()
    back = event_lines(tmp_path, "rolled_back")
    assert [(e["bad_step"], e["generation"]) for e in back] == [
        (5, "000000004"),
        (7, "000000006"),
        (7, "000000004"),
    ]
    assert run.step == 8


def test_options_set_for_later_are_set_again_after_going_back(tmp_path):
    def plan(run):
        run.set_option("save.keep", 9, at_step=4)

    run = tiny_run(
        tmp_path, set=SAVES, trainer=Poisoned(4), addons=[Addon(plan, bad=lambda *_: True)]
    )
    run.train()
    assert [e["step"] for e in event_lines(tmp_path, "option")] == [3, 3]
    assert run.config["save"].keep == 9


def test_iterating_goes_back_too(tmp_path):
    run = open_tiny(tmp_path, 6, every=2, trainer=Poisoned(4), addons=[Addon(bad=lambda *_: True)])
    with run:
        steps = [metrics.step for metrics in run]
    assert steps[-1] == 6
    assert steps.count(3) == 2


def test_a_batch_is_shown_once_before_the_first_step(tmp_path):
    class Watcher(Watching):
        def on_first_batch(self, batch):
            self.batches = [*getattr(self, "batches", []), batch]

    watcher = Watcher()
    with tiny_run(tmp_path, set={"training.iterations": 3}, addons=[watcher]) as run:
        run.train()
    (batch,) = watcher.batches
    assert batch.step == 1
    assert np.isfinite(batch.inputs["a"].numpy()).all()
