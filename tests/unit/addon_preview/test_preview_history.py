"""Losses over a model's whole life: read, thinned out, taken back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fs_addon_preview.history import LossHistory, read_losses
from fs_kernel.training import records as events


def history_of(readings, most=8):
    history = LossHistory(["a", "b"], most)
    for step, a in readings:
        history.add(step, {"a": a, "b": 2 * a})
    return history


def write_metrics(log, steps, value=0.5):
    for step in steps:
        log.write("metrics", step, losses={"a": value, "b": value + step})


def test_one_reading_is_no_curve():
    assert LossHistory(["a"]).curves() == {}
    assert history_of([(1, 0.5)]).curves() == {}


def test_few_readings_are_kept_as_they_are():
    curves = history_of([(step, step / 10) for step in range(1, 9)]).curves()
    np.testing.assert_array_equal(curves["a"][0], range(1, 9))
    np.testing.assert_allclose(curves["b"][1], [step / 5 for step in range(1, 9)])


def test_many_are_joined_into_means_and_stay_bounded():
    history = history_of([(step, float(step)) for step in range(1, 1001)])
    steps, losses = history.curves()["a"]
    assert 4 <= len(steps) <= 8
    np.testing.assert_allclose(steps, losses)
    widths = np.diff(steps[:-1])
    assert (widths == widths[0]).all()
    assert steps[0] == (1 + widths[0]) / 2


def test_a_reading_without_a_finite_loss_is_passed_over():
    history = LossHistory(["a", "b"])
    for step, losses in enumerate(
        [{"a": 1.0, "b": 1.0}, {"a": math.nan, "b": 1.0}, {"a": None, "b": 1.0}, {"a": 1.0}, {}], 1
    ):
        history.add(step, losses)
    history.add(9, {"a": 3.0, "b": 1.0, "extra": 5.0})
    np.testing.assert_array_equal(history.curves()["a"], [[1, 9], [1.0, 3.0]])


def test_going_back_forgets_what_lay_beyond():
    history = history_of([(step, 0.1) for step in range(1, 6)])
    for step in (3, 4):
        history.add(step, {"a": 0.9, "b": 0.9})
    np.testing.assert_array_equal(history.curves()["a"], [[1, 2, 3, 4], [0.1, 0.1, 0.9, 0.9]])


def test_going_back_into_a_joined_stretch_keeps_the_steps_ascending():
    history = history_of([(step, 0.1) for step in range(1, 101)])
    for step in range(50, 80):
        history.add(step, {"a": 0.9, "b": 0.9})
    steps, losses = history.curves()["a"]
    assert (np.diff(steps) > 0).all()
    assert steps[-1] <= 79
    assert losses[-1] == pytest.approx(0.9)
    assert losses[0] == pytest.approx(0.1)


def test_reads_what_the_kernel_writes_with_its_rotated_files(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "_ROTATE_BYTES", 1000)
    log = events.EventLog(tmp_path)
    log.write("started", 0, target=100, session=1)
    write_metrics(log, range(1, 41))
    log.write("saved", 40, generation="000000040")
    assert len(list(tmp_path.glob("*.jsonl"))) >= 3
    readings = list(read_losses(tmp_path, 1000))
    steps = [step for step, _ in readings]
    assert steps == list(range(steps[0], 41))
    assert readings[-1] == (40, {"a": 0.5, "b": 40.5})


def test_reads_only_up_to_the_step_that_is_resumed(tmp_path):
    write_metrics(events.EventLog(tmp_path), range(1, 11))
    assert [step for step, _ in read_losses(tmp_path, 6)] == [1, 2, 3, 4, 5, 6]


def test_long_logs_are_read_in_parts_of_the_same_distance(tmp_path, monkeypatch):
    write_metrics(events.EventLog(tmp_path), range(1, 101))
    size = (tmp_path / "events.jsonl").stat().st_size
    monkeypatch.setattr("fs_addon_preview.history._READ_BYTES", size // 4)
    steps = [step for step, _ in read_losses(tmp_path, 1000)]
    assert steps == list(range(5, 101, 5))


def test_no_log_and_broken_lines_are_no_reason_to_stop(tmp_path):
    assert list(read_losses(tmp_path / "missing", 10)) == []
    (tmp_path / "events.jsonl").write_bytes(
        b'{"event": "metrics", "step": 1, "losses": {"a": 1.0}}\n'
        b'{"event": "metrics", "step": "x", "losses": {}}\n'
        b'{"event": "metrics", "step": 2}\n'
        b'{"event": "metrics", "step": 2, "losses": 7}\n'
        b'["metrics"]\n\xff"metrics"\n'
        b'{"event": "metrics", "step": 3, "losses": {"a": null}}\n'
        b'{"event": "metrics", "step": 4, "lo'
    )
    assert list(read_losses(tmp_path, 10)) == [(1, {"a": 1.0}), (3, {"a": None})]
