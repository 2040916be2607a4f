"""When previews are asked for."""

from __future__ import annotations

import pytest
from fs_addon_preview.schedule import Schedule
from fs_kernel.options import Interval


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


AUTOMATIC = Interval()


def asked(schedule, clock, seconds_per_step, steps, interval=AUTOMATIC):
    """Seconds since the start at which the schedule was due."""
    found = []
    for step in range(1, 1 + steps):
        clock.now += seconds_per_step
        if schedule.due(step, interval):
            found.append(clock.now - 1000.0)
    return found


def test_every_minute_for_ten_minutes_and_then_no_more(clock):
    assert asked(Schedule(0, clock), clock, 0.5, 2400) == [60.0 * m for m in range(1, 11)]


def test_slow_steps_do_not_drift_off_the_minutes(clock):
    assert asked(Schedule(0, clock), clock, 7.0, 30) == [63.0, 126.0, 182.0]


def test_missed_minutes_are_not_made_up_for(clock):
    assert asked(Schedule(0, clock), clock, 250.0, 5) == [250.0, 500.0, 750.0]


def test_saves_count_only_after_ten_minutes(clock):
    schedule = Schedule(0, clock)
    clock.now += 599.0
    assert not schedule.due_at_save(AUTOMATIC)
    clock.now += 1.0
    assert schedule.due_at_save(AUTOMATIC)
    assert schedule.due_at_save(AUTOMATIC)


def test_interval_in_steps_counts_from_the_step_resumed_at(clock):
    schedule = Schedule(5000, clock)
    due = [step for step in range(5001, 5251) if schedule.due(step, Interval(steps=100))]
    assert due == [5100, 5200]


def test_interval_in_time_replaces_minutes_and_saves(clock):
    schedule = Schedule(0, clock)
    every_five_minutes = Interval(seconds=300.0)
    assert asked(schedule, clock, 1.0, 1000, every_five_minutes) == [300.0, 600.0, 900.0]
    assert not schedule.due_at_save(every_five_minutes)


def test_an_interval_that_changes_on_the_way_holds_at_once(clock):
    schedule = Schedule(0, clock)
    due = [s for s in range(1, 101) if schedule.due(s, Interval(steps=40))]
    due += [s for s in range(101, 131) if schedule.due(s, Interval(steps=10))]
    assert due == [40, 80, 101, 111, 121]


def test_steps_that_begin_again_after_a_roll_back_still_count(clock):
    schedule = Schedule(0, clock)
    ten = Interval(steps=10)
    assert [s for s in range(1, 101) if schedule.due(s, ten)][-1] == 100
    assert [s for s in range(51, 81) if schedule.due(s, ten)] == [61, 71]
