"""Observers are isolated from the run and from each other."""

from __future__ import annotations

import threading
import time

import pytest
from fs_kernel.training import observers as module
from fs_kernel.training.observers import Observers


class Recorder:
    def __init__(self):
        self.seen = []

    def on_metrics(self, value):
        self.seen.append(("metrics", value))

    def on_checkpoint(self, value):
        self.seen.append(("checkpoint", value))


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def observers(warnings):
    return Observers(lambda line, error: warnings.append(line))


def test_every_observer_hears_what_it_has_methods_for_in_order(observers, warnings):
    first, second = Recorder(), Recorder()
    observers.add("first", first)
    observers.add("second", second)
    for number in range(5):
        observers.tell("on_metrics", number)
    observers.tell("on_preview", "not heard")
    observers.tell("on_checkpoint", "c")
    observers.close()
    assert first.seen == [*(("metrics", n) for n in range(5)), ("checkpoint", "c")]
    assert second.seen == first.seen
    assert warnings == []


@pytest.mark.parametrize("error", [ValueError("bad day"), SystemExit(3), KeyboardInterrupt()])
def test_one_that_raises_is_switched_off_once_and_others_continue(observers, warnings, error):
    class Failing(Recorder):
        def on_metrics(self, value):
            super().on_metrics(value)
            raise error

    failing, fine = Failing(), Recorder()
    observers.add("failing", failing)
    observers.add("fine", fine)
    for number in range(5):
        observers.tell("on_metrics", number)
        time.sleep(0.01)
    observers.close()
    assert len(failing.seen) == 1
    assert len(fine.seen) == 5
    (line,) = warnings
    assert line.startswith("add-on 'failing' failed in on_metrics and is switched off: ")
    assert type(error).__name__ in line


def test_a_warning_may_be_told_to_the_observers_themselves():
    """The event bus does so, from the failing observer's own thread."""
    heard = []

    class Failing:
        def on_metrics(self, value):
            raise ValueError("x")

    class Listener:
        def on_warning(self, line):
            heard.append(line)

    everyone = Observers(lambda line, error: everyone.tell("on_warning", line))
    everyone.add("failing", Failing())
    everyone.add("listener", Listener())
    everyone.tell("on_metrics", 1)
    time.sleep(0.1)
    everyone.close()
    assert len(heard) == 1


def test_an_observer_whose_attributes_raise_hurts_only_itself(observers, warnings):
    class Hostile:
        def __getattr__(self, name):
            raise RuntimeError("no attributes here")

    fine = Recorder()
    observers.add("hostile", Hostile())
    observers.add("fine", fine)
    observers.tell("on_metrics", 1)
    observers.close()
    assert fine.seen == [("metrics", 1)]
    assert len(warnings) == 1
    assert "hostile" in warnings[0]


def test_a_hanging_observer_delays_nobody_and_is_left_behind(observers, warnings, monkeypatch):
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.2)
    release = threading.Event()

    class Hanging:
        def on_metrics(self, value):
            release.wait(30)

    fine = Recorder()
    observers.add("hanging", Hanging())
    observers.add("fine", fine)
    start = time.monotonic()
    for number in range(1000):
        observers.tell("on_metrics", number)
    told = time.monotonic() - start
    observers.close()
    closed = time.monotonic() - start
    release.set()
    assert told < 1.0
    assert closed < 5.0
    assert len(warnings) == 1
    assert "'hanging' did not finish" in warnings[0]
    assert fine.seen


def test_metrics_are_dropped_for_a_slow_one_and_nothing_else_is(observers, monkeypatch):
    monkeypatch.setattr(module, "_MAX_WAITING", 4)
    release = threading.Event()

    class Slow(Recorder):
        def on_metrics(self, value):
            release.wait(30)
            super().on_metrics(value)

    slow = Slow()
    observers.add("slow", slow)
    for number in range(100):
        observers.tell("on_metrics", number)
    for number in range(20):
        observers.tell("on_checkpoint", number)
    release.set()
    observers.close()
    kinds = [kind for kind, _ in slow.seen]
    assert 1 <= kinds.count("metrics") <= 6
    assert kinds.count("checkpoint") == 20


def test_closing_twice_does_nothing(observers):
    observers.add("x", Recorder())
    observers.close()
    observers.close()
    observers.tell("on_metrics", 1)
