"""The losses of a model's whole life: thinned, taken back, and kept through faults."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from fs_kernel.storage import history
from fs_kernel.storage.history import NAME, LossHistory, read_history


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def short(monkeypatch):
    """At most eight records."""
    monkeypatch.setattr(history, "MOST", 8)


def fill(logs, readings):
    kept = LossHistory(logs)
    for step, a in readings:
        kept.add(step, {"a": a, "b": 2 * a})
    return kept


def lines(logs):
    return [json.loads(line) for line in (logs / NAME).read_text().splitlines()]


def same(one, other):
    assert one.keys() == other.keys()
    for side in one:
        np.testing.assert_array_equal(one[side], other[side])


def test_few_readings_are_kept_as_they_are(logs):
    kept = fill(logs, [(step, step / 10) for step in range(1, 9)])
    curves = read_history(logs.parent)
    same(curves, kept.read())
    np.testing.assert_array_equal(curves["a"][0], range(1, 9))
    np.testing.assert_allclose(curves["b"][1], [step / 5 for step in range(1, 9)])
    assert lines(logs)[2] == {"first": 3, "step": 3, "count": 1, "losses": {"a": 0.3, "b": 0.6}}


def test_many_are_joined_into_means_and_stay_bounded(logs, short):
    kept = fill(logs, [(step, float(step)) for step in range(1, 1001)])
    steps, losses = kept.read()["a"]
    assert 4 <= len(steps) <= 8
    np.testing.assert_allclose(steps, losses)
    widths = np.diff(steps[:-1])
    assert (widths == widths[0]).all()
    assert steps[0] == (1 + widths[0]) / 2
    assert len(lines(logs)) <= 9


def test_a_million_steps_fit_in_two_thousand_records(logs):
    """Read every ten steps, as a fast model is."""
    kept = LossHistory(logs)
    for step in range(10, 1_000_001, 10):
        kept.add(step, {"a": 1 / step, "b": 0.5})
    kept.close()
    curves = read_history(logs.parent)
    same(curves, kept.read())
    steps, losses = curves["a"]
    assert 1024 <= len(steps) <= 2048
    assert steps[0] < 1000
    assert steps[-1] > 999_000
    found = {record["first"]: record["count"] for record in lines(logs)}
    weights = list(found.values())
    assert sum(weights) == 100_000
    mean = np.mean(1 / np.arange(10, 1_000_001, 10))
    assert np.average(losses, weights=weights) == pytest.approx(mean)
    np.testing.assert_allclose(curves["b"][1], 0.5)
    assert (logs / NAME).stat().st_size < 2**20


def test_a_loss_that_is_not_finite_is_left_out(logs):
    kept = LossHistory(logs)
    for step, losses in enumerate(
        [{"a": 1.0, "b": 1.0}, {"a": math.nan, "b": 2.0}, {"a": None, "b": math.inf}, {}], 1
    ):
        kept.add(step, losses)
    curves = read_history(logs.parent)
    np.testing.assert_array_equal(curves["a"], [[1], [1.0]])
    np.testing.assert_array_equal(curves["b"], [[1, 2], [1.0, 2.0]])


def test_going_back_drops_what_lay_beyond(logs):
    kept = fill(logs, [(step, 0.1) for step in range(1, 6)])
    kept.go_back(3)
    np.testing.assert_array_equal(read_history(logs.parent)["a"][0], [1, 2, 3])
    kept.add(4, {"a": 0.9, "b": 0.9})
    kept.go_back(4)
    kept.go_back(100)
    same(read_history(logs.parent), kept.read())
    np.testing.assert_array_equal(kept.read()["a"], [[1, 2, 3, 4], [0.1, 0.1, 0.1, 0.9]])


def test_a_step_that_comes_again_replaces_what_was_beyond_it(logs, short):
    kept = fill(logs, [(step, 0.1) for step in range(1, 101)])
    for step in range(50, 80):
        kept.add(step, {"a": 0.9, "b": 0.9})
    kept.close()
    steps, losses = kept.read()["a"]
    same(read_history(logs.parent), kept.read())
    assert (np.diff(steps) > 0).all()
    assert steps[-1] <= 79
    assert losses[-1] == pytest.approx(0.9)
    assert losses[0] == pytest.approx(0.1)


@pytest.mark.parametrize("closed", [True, False])
def test_sessions_are_joined(logs, short, closed):
    """Without a close, as after a kill, only an incomplete record is lost."""
    for start in range(0, 60, 10):
        kept = LossHistory(logs)
        kept.go_back(start)
        for step in range(start + 1, start + 11):
            kept.add(step, {"a": float(step)})
        if closed:
            kept.close()
    steps, losses = read_history(logs.parent)["a"]
    np.testing.assert_allclose(steps, losses, atol=0 if closed else 8)
    assert 4 <= len(steps) <= 8
    assert sum(record["count"] for record in lines(logs)) >= (60 if closed else 40)


def test_a_record_that_was_completed_later_counts_once(logs, short):
    fill(logs, [(step, 1.0) for step in range(1, 10)]).close()
    kept = LossHistory(logs)
    kept.add(10, {"a": 3.0, "b": 3.0})
    kept.close()
    steps, losses = read_history(logs.parent)["a"]
    np.testing.assert_array_equal(steps, [1.5, 3.5, 5.5, 7.5, 9.5])
    np.testing.assert_array_equal(losses, [1, 1, 1, 1, 2])


BROKEN = [
    b"\xff\xfe",
    b"[]",
    b'{"first": 3}',
    b'{"first": 9, "step": 3, "count": 1, "losses": {"a": 1}}',
    b'{"first": 3, "step": true, "count": 1, "losses": {"a": 1}}',
    b'{"first": 3, "step": 1e3, "count": 1, "losses": {"a": 1}}',
    b'{"first": 3, "step": 3, "count": 0, "losses": {"a": 1}}',
    b'{"first": 3, "step": 3, "count": 1, "losses": {"a": NaN}}',
    b'{"first": 3, "step": 3, "count": 1, "losses": [1]}',
    b'{"first": 3, "step": 1' + b"0" * 400 + b', "count": 1, "losses": {"a": 1}}',
    b"[" * 5000,
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("end", [b"\n", b""])
def test_broken_lines_are_passed_over(logs, broken, end):
    fill(logs, [(1, 0.5), (2, 0.25)])
    with (logs / NAME).open("ab") as stream:
        stream.write(broken + end)
    kept = LossHistory(logs)
    kept.add(3, {"a": 0.125, "b": 0.125})
    np.testing.assert_array_equal(read_history(logs.parent)["a"], [[1, 2, 3], [0.5, 0.25, 0.125]])
    assert len(lines(logs)) == 3


def test_a_line_that_was_cut_off_is_not_continued(logs):
    fill(logs, [(1, 0.5), (2, 0.25)])
    text = (logs / NAME).read_bytes()
    (logs / NAME).write_bytes(text[:-10])
    LossHistory(logs).add(3, {"a": 0.125})
    np.testing.assert_array_equal(read_history(logs.parent)["a"], [[1, 3], [0.5, 0.125]])


def test_a_full_disk_stops_nothing_and_loses_nothing(logs, monkeypatch):
    kept = fill(logs, [(1, 0.5)])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(history.Path, "open", full)
        patch.setattr(history.files, "write_atomic", full)
        kept.add(2, {"a": 0.25, "b": 0.5})
        kept.go_back(1)
        kept.add(2, {"a": 0.75, "b": 0.5})
        kept.close()
    assert len(lines(logs)) == 1
    kept.add(3, {"a": 0.125, "b": 0.25})
    np.testing.assert_array_equal(read_history(logs.parent)["a"], [[1, 2, 3], [0.5, 0.75, 0.125]])


def test_a_file_that_was_removed_is_written_again(logs):
    kept = fill(logs, [(1, 0.5)])
    (logs / NAME).unlink()
    kept.add(2, {"a": 0.25, "b": 0.5})
    kept.add(3, {"a": 0.25, "b": 0.5})
    assert len(lines(logs)) == 3


def test_no_folder_is_an_empty_history(tmp_path):
    assert read_history(tmp_path / "missing") == {}
    assert LossHistory(tmp_path / "missing").read() == {}
