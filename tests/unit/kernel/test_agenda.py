"""What is due between two steps, with a clock that is moved by hand."""

from __future__ import annotations

import threading

import pytest
from fs_kernel.options import Config, Interval, OptionStore
from fs_kernel.options.defaults import SaveOptions, TrainingOptions
from fs_kernel.training.agenda import Action, Agenda
from fs_kernel.types import Decision, SaveReason, StopReason


def make(step=0, now=100.0, keeps_time=True, iterations=1000, metrics="1it", **save):
    training = TrainingOptions(iterations=iterations, metrics_interval=Interval.parse(metrics))
    save = {"interval": Interval(), **save}
    options = OptionStore(Config({"training": training, "save": SaveOptions(**save)}))
    return Agenda(options, step, now, keeps_time)


def test_nothing_is_due_at_first_but_to_train():
    assert make(metrics="0").wish(0, 100.0) == Decision()


@pytest.mark.parametrize("action", [Action.SAVE, Action.SNAPSHOT, Action.PREVIEW])
def test_what_is_asked_for_before_the_first_step_is_done_after_it(action):
    agenda = make(step=7, metrics="0")
    agenda.request(action, 5)
    assert agenda.wish(7, 100.0) == Decision()
    assert agenda.wish(8, 100.0) != Decision()


def test_a_stop_counts_at_once_and_the_target_counts_more():
    agenda = make(iterations=9)
    agenda.request(Action.STOP)
    assert agenda.wish(0, 100.0).stop is StopReason.STOPPED
    assert agenda.wish(8, 100.0).stop is StopReason.STOPPED
    assert agenda.wish(9, 100.0).stop is StopReason.TARGET_REACHED


def test_the_deadline_is_on_the_clock_of_the_start_and_of_process_0():
    agenda, other = make(), make(keeps_time=False)
    agenda.deadline = other.deadline = 110.0
    assert [agenda.wish(1, now).stop for now in (109.9, 110.0)] == [None, StopReason.TIME_UP]
    assert other.wish(1, 200.0).stop is None


@pytest.mark.parametrize("interval", ["3it", "30s"])
def test_metrics_are_read_at_their_interval_counted_from_the_last_reading(interval):
    agenda, read = make(metrics=interval), []
    for step in range(10):
        now = 100.0 + 10 * (step + 1)
        if agenda.wish(step, now).read_metrics:
            agenda.metrics_read(step + 1, now)
            read.append(step + 1)
    assert read == [3, 6, 9]


def test_a_schedule_is_that_of_process_0():
    agenda = make(keeps_time=False, interval=Interval(steps=1))
    assert agenda.wish(5, 1e9) == Decision()
    agenda.request(Action.SAVE)
    assert agenda.wish(5, 1e9).save is SaveReason.REQUESTED


def test_the_weightiest_reason_to_save_counts_and_requests_stay_until_they_are_answered():
    agenda = make(interval=Interval(steps=2))
    assert agenda.wish(1, 100.0).save is None
    assert agenda.wish(2, 100.0).save is SaveReason.SCHEDULED
    agenda.request(Action.SAVE)
    assert agenda.wish(2, 100.0).save is SaveReason.REQUESTED
    agenda.request(Action.SNAPSHOT)
    for _ in range(2):
        assert agenda.wish(3, 100.0, save_in_progress=True).save is SaveReason.SNAPSHOT
    assert agenda.wish(3, 100.0, save_in_progress=True).save_blocked
    assert agenda.save_started(snapshot=False, step=3, now=100.0) == 3
    assert agenda.wish(4, 100.0).save is SaveReason.SNAPSHOT, "a plain save is not a snapshot"
    assert agenda.save_started(snapshot=True, step=4, now=100.0) == 1
    assert agenda.wish(5, 100.0).save is None


def test_a_snapshot_is_due_exactly_at_its_step_and_once():
    agenda = make(snapshot_interval=4)
    assert [step for step in range(1, 9) if agenda.snapshot_due(step)] == [4, 8]
    agenda.save_started(snapshot=True, step=4, now=100.0)
    assert not agenda.snapshot_due(4)
    assert not make(step=4, snapshot_interval=4).snapshot_due(4), "resumed from it"


def test_after_a_roll_back_everything_is_counted_from_there_and_snapshots_are_made_again():
    agenda = make(snapshot_interval=4, interval=Interval(steps=3))
    agenda.save_started(snapshot=True, step=4, now=100.0)
    agenda.request(Action.SAVE)
    agenda.restart(2, 100.0)
    assert agenda.wish(2, 100.0).save is None, "no step was done since"
    assert agenda.wish(3, 100.0).save is SaveReason.REQUESTED, "requests stay"
    assert agenda.snapshot_due(4)
    assert agenda.save_started(snapshot=False, step=3, now=100.0) == 1


def test_the_last_preview_is_of_the_size_of_the_one_before():
    agenda = make()
    assert agenda.preview_at_end(9) == 0
    agenda.request(Action.PREVIEW, 14)
    agenda.request(Action.PREVIEW, 3)
    assert agenda.wish(1, 100.0).preview_faces == 14
    agenda.preview_made(14, 1)
    assert agenda.wish(2, 100.0).preview_faces == 0
    assert agenda.preview_at_end(1) == 0, "it was made at this step"
    assert agenda.preview_at_end(2) == 14


@pytest.mark.parametrize(("interval", "due"), [("2it", [2, 4, 6]), ("30s", [4, 7]), ("0", [])])
def test_evaluations_come_at_their_interval_in_steps_and_in_seconds(interval, due):
    agenda, made = make(), []
    agenda.evaluate_at("held out", Interval.parse(interval), 0, 100.0)
    for step in range(7):
        now = 100.0 + 10 * step
        if agenda.wish(step, now).evaluate:
            assert agenda.evaluations_due(step + 1, now) == ["held out"]
            agenda.evaluated("held out", step + 1, now)
            made.append(step + 1)
    assert made == due


def test_a_request_from_another_thread_is_not_lost():
    agenda = make()
    threads = [threading.Thread(target=agenda.request, args=(action,)) for action in Action]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wish = agenda.wish(1, 100.0)
    assert (wish.stop, wish.save) == (StopReason.STOPPED, SaveReason.SNAPSHOT)
    assert wish.preview_faces
