"""Add-ons in a run: after steps, at intervals, with a state, and closed at every end."""

from __future__ import annotations

import attrs
import pytest
import torch
from fs_kernel import hookimpl
from fs_kernel.errors import PluginError
from fs_kernel.options import Interval
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import ArrayFeed, PlainTrainer
from fs_kernel.training import addons as module
from fs_kernel.training.coordination import SingleGroup, SingleProcess
from runs import SteppedTrainer, held, open_tiny, train


class Counting:
    """Counts steps; the count is in checkpoints."""

    def __init__(self, name="counting", **members):
        self.name, self.count, self.calls = name, 0, []
        vars(self).update(members)

    @hookimpl
    def create_addon(self, run):
        self.run = run
        self.calls.append("create")
        return self

    def after_step(self, result):
        assert not result.losses[0].total.requires_grad
        self.count += 1

    def state_dict(self):
        return {"count": self.count, "seen": torch.full((2,), self.count)}

    def load_state_dict(self, state):
        assert state["seen"].tolist() == [state["count"]] * 2
        self.calls.append(f"load {state['count']}")
        self.count = state["count"]

    def before_training(self):
        self.calls.append("begin")

    def close(self, failed):
        self.calls.append(f"close {failed}")


def test_a_state_goes_through_save_and_resume_before_training_begins(tmp_path):
    first, second = Counting(), Counting()
    train(tmp_path, 3, addons=[first])
    assert first.calls == ["create", "begin", "close False"]
    assert held(tmp_path)[1]["addons"]["counting"]["count"] == 3
    train(tmp_path, 5, addons=[second])
    assert second.calls == ["create", "load 3", "begin", "close False"]
    assert second.count == 5


def test_a_state_goes_back_with_the_rest(tmp_path):
    def spoil(metrics):
        if metrics.step == 4 and counting.calls.count("load 2") == 0:
            return "bad"

    counting = Counting(check_metrics=spoil, on_bad_step=lambda report: True)
    train(tmp_path, 6, every=2, addons=[counting])
    assert counting.calls == ["create", "begin", "load 2", "close False"]
    assert counting.count == 6


def test_the_state_of_an_add_on_that_is_gone_is_dropped_and_a_new_one_starts_without(tmp_path):
    train(tmp_path, 1, addons=[Counting()])
    other = Counting("other")
    train(tmp_path, 2, addons=[other])
    assert other.calls == ["create", "begin", "close False"]
    assert set(held(tmp_path)[1]["addons"]) == {"other"}


def test_a_run_without_states_of_add_ons_has_no_place_for_them(tmp_path):
    train(tmp_path, 1)
    assert "addons" not in held(tmp_path)[1]


def test_every_vote_is_heard_and_one_is_enough(tmp_path):
    heard = []
    bad = iter(["bad"])

    def vote(name, answer):
        return lambda report: heard.append((name, report.step)) or answer

    def judge(metrics):
        return next(bad, None) if metrics.step == 3 else None

    first = Counting("first", check_metrics=judge, on_bad_step=vote("first", True))
    second = Counting("second", on_bad_step=vote("second", False))
    assert train(tmp_path, 4, every=2, addons=[first, second]).step == 4
    assert heard == [("first", 3), ("second", 3)]


# --- evaluations ---


@pytest.mark.parametrize(("interval", "due"), [(Interval(steps=2), [2, 4, 6]), ("2it", [2, 4, 6])])
def test_numbers_are_evaluated_at_an_interval_in_steps_and_reported(
    tmp_path, events, interval, due
):
    asked = []

    def evaluate():
        asked.append(counting.run.step)
        return {"count": counting.count}

    counting = Counting(evaluate=evaluate, evaluation_interval=interval)
    train(tmp_path, 6, addons=[counting])
    assert asked == due
    values = [(e["step"], e["values"]) for e in events(tmp_path, "metrics") if e["values"]]
    assert values == [(2, {"count": 2.0}), (4, {"count": 4.0}), (6, {"count": 6.0})]


def test_numbers_are_evaluated_at_an_interval_in_seconds(tmp_path, monkeypatch):
    now, asked = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def evaluate():
        asked.append(counting.run.step)
        return {}

    counting = Counting(evaluate=evaluate, evaluation_interval="30s")
    with open_tiny(tmp_path, 8, addons=[counting]) as run:
        for _ in run:
            now[0] += 12.0
    assert asked == [4, 7]  # After the step at whose start it was due.


def test_what_evaluates_without_an_interval_is_never_asked(tmp_path):
    def evaluate():
        raise AssertionError

    assert train(tmp_path, 3, addons=[Counting(evaluate=evaluate)]).step == 3


def test_what_is_logged_is_reported_with_the_next_metrics_and_once(tmp_path):
    counting = Counting()
    with open_tiny(tmp_path, 3, addons=[counting]) as run:
        steps = iter(run)
        next(steps)
        counting.run.log({"psnr": 1, "ssim": torch.tensor(0.5)})
        counting.run.log({"psnr": 2})
        assert [metrics.values for metrics in steps] == [{"psnr": 2.0, "ssim": 0.5}, {}]


@pytest.mark.parametrize(("mode", "best"), [("min", [2, 4]), ("max", [1, 3])])
def test_the_best_checkpoints_are_those_of_the_monitored_number(tmp_path, mode, best, monkeypatch):
    monkeypatch.setattr("fs_kernel.storage.retention.MIN_RATED", 1)
    scores = iter([8.0, 1.0, 9.0, 2.0, 5.0, 4.0])
    counting = Counting(evaluate=lambda: {"score": next(scores)}, evaluation_interval="1it")
    options = {"save.keep": 1, "save.keep_best": 2}
    options |= {"save.monitor": "score", "save.monitor_mode": mode}
    with open_tiny(tmp_path, 6, addons=[counting], set=options) as run:
        for _ in run:
            run.save()  # What was evaluated at this step ranks its checkpoint.
    kept = {made.step for made in Checkpoints(tmp_path / "model").checkpoints()}
    assert set(best) <= kept
    assert len(kept - {6}) == 2


# --- closed at every end ---


class Closing(SteppedTrainer):
    """Notes that it is closed; its last weights are seen by then."""

    def __init__(self, calls):
        self.calls = calls

    @hookimpl
    def create_trainer(self, run):
        made = super().create_trainer(run)
        made.close = lambda failed: self.calls.append(f"trainer {failed}")
        return made


class ClosingFeed(ArrayFeed):
    """Notes that it is closed."""

    def __init__(self, calls):
        self.calls = calls

    @hookimpl
    def open_feed(self, folders, spec):
        feed = super().open_feed(folders, spec)
        feed.close = lambda: self.calls.append("feed")
        return feed


def closing(*, fails_in=None):
    """The parts of a run that note when they are closed, in one list."""
    calls = []

    class Ending(Counting):
        def close(self, failed):
            calls.append(f"{self.name} {failed}")

    def fail(*_):
        raise ValueError("not today")

    members = {fails_in: fail} if fails_in else {}
    addons = [Ending("one"), Ending("two", **members)]
    return calls, {"trainer": Closing(calls), "feed": ClosingFeed(calls), "addons": addons}


def test_everything_is_closed_the_last_opened_first(tmp_path):
    calls, parts = closing()
    train(tmp_path, 1, **parts)
    assert calls == ["two False", "one False", "trainer False", "feed"]


@pytest.mark.parametrize("member", ["before_training", "observers", "load_state_dict"])
def test_everything_is_closed_if_an_add_on_fails_at_the_start(tmp_path, member):
    train(tmp_path, 1, addons=[Counting("two")])
    calls, parts = closing(fails_in=member)
    with pytest.raises(PluginError, match=f"add-on 'two' failed in {member}: ValueError"):
        open_tiny(tmp_path, 2, **parts)
    assert calls == ["two True", "one True", "trainer True", "feed"]
    assert train(tmp_path, 2).step == 2, "the folder is free again"


def test_everything_is_closed_if_a_step_fails(tmp_path):
    calls, parts = closing(fails_in="after_step")
    with pytest.raises(PluginError, match="add-on 'two' failed in after_step: ValueError"):
        train(tmp_path, 2, **parts)
    assert calls == ["two True", "one True", "trainer True", "feed"]


def test_a_trainer_is_closed_if_its_sampler_cannot_be_made(tmp_path):
    calls, parts = closing()

    class Failing(Closing):
        @hookimpl
        def get_sampler(self):
            raise ValueError("no order")

    with pytest.raises(PluginError, match="failed in get_sampler"):
        open_tiny(tmp_path, 1, **parts | {"trainer": Failing(calls)})
    assert calls == ["trainer True", "feed"]
    assert train(tmp_path, 1).step == 1


def test_what_cannot_be_closed_is_a_warning_and_the_rest_is_closed(tmp_path, events):
    calls, parts = closing()

    class Stuck(Counting):
        def close(self, failed):
            raise ValueError("stuck")

    parts["addons"].append(Stuck("three"))
    assert train(tmp_path, 1, **parts).step == 1
    assert calls == ["two False", "one False", "trainer False", "feed"]
    (warning,) = events(tmp_path, "warning")
    assert warning["message"] == "add-on 'three' failed in close: ValueError: stuck"


@attrs.define
class Left(SingleGroup):
    """Notes how it is left."""

    how: list = attrs.field(factory=list)

    def close(self, failed):
        self.how.append(failed)


class Leaving(PlainTrainer):
    """Has a group that notes how it is left."""

    def __init__(self):
        self.group = Left()

    @hookimpl
    def connect(self):
        processes = SingleProcess()
        processes.group = self.group
        return processes


def test_a_group_is_left_at_every_end(tmp_path):
    good, bad = Leaving(), Leaving()
    train(tmp_path, 1, trainer=good)
    with pytest.raises(PluginError, match="failed in before_training"):
        open_tiny(tmp_path, 2, trainer=bad, addons=[Counting(before_training="not callable")])
    assert (good.group.how, bad.group.how) == ([False], [True])
