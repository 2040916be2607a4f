"""When previews are asked for."""

from __future__ import annotations

import pytest
from fs_addon_preview.schedule import Schedule
from fs_kernel.values import Interval


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def asked(schedule, clock, seconds_per_step, steps, first=1):
    """Seconds since the start at which the schedule was due."""
    found = []
    for step in range(first, first + steps):
        clock.now += seconds_per_step
        if schedule.due(step):
            found.append(clock.now - 1000.0)
    return found


def test_every_minute_for_ten_minutes_and_then_no_more(clock):
    schedule = Schedule(Interval(), 0, clock)
    assert asked(schedule, clock, 0.5, 2400) == [60.0 * m for m in range(1, 11)]


def test_slow_steps_do_not_drift_off_the_minutes(clock):
    schedule = Schedule(Interval(), 0, clock)
    assert asked(schedule, clock, 7.0, 30) == [63.0, 126.0, 182.0]


def test_missed_minutes_are_not_made_up_for(clock):
    schedule = Schedule(Interval(), 0, clock)
    assert asked(schedule, clock, 250.0, 5) == [250.0, 500.0, 750.0]


def test_saves_count_only_after_ten_minutes(clock):
    schedule = Schedule(Interval(), 0, clock)
    clock.now += 599.0
    assert not schedule.due_at_save()
    clock.now += 1.0
    assert schedule.due_at_save()
    assert schedule.due_at_save()


def test_interval_in_steps_counts_from_the_step_resumed_at(clock):
    schedule = Schedule(Interval(steps=100), 5000, clock)
    due = [step for step in range(5001, 5251) if schedule.due(step)]
    assert due == [5100, 5200]


def test_interval_in_time_replaces_minutes_and_saves(clock):
    schedule = Schedule(Interval(seconds=300.0), 0, clock)
    assert asked(schedule, clock, 1.0, 1000) == [300.0, 600.0, 900.0]
    assert not schedule.due_at_save()
