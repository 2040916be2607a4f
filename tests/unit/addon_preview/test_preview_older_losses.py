"""The losses of folders that were trained before there was a history of losses."""

from __future__ import annotations

import numpy as np
import pytest
from fs_addon_preview import older_losses
from fs_addon_preview.older_losses import NAME, Losses, import_events
from fs_kernel.storage import LossHistory
from fs_kernel.training.records import EventLog


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def write_metrics(logs, steps):
    log = EventLog(logs)
    for step in steps:
        log.write("metrics", step, losses={"a": 0.5, "b": 0.5 + step})


def test_all_event_logs_of_an_older_folder_are_read_and_kept(logs, monkeypatch):
    monkeypatch.setattr("fs_kernel.training.records._ROTATE_BYTES", 1000)
    EventLog(logs).write("started", 0, target=100, session=1)
    write_metrics(logs, range(1, 41))
    EventLog(logs).write("saved", 40, generation="000000040")
    assert len(list(logs.glob("*.jsonl"))) >= 3
    steps, losses = Losses(logs.parent).read(40)["b"]
    np.testing.assert_array_equal(steps, np.arange(steps[0], 41))
    np.testing.assert_array_equal(losses, steps + 0.5)
    for path in logs.glob("events*"):
        path.unlink()
    np.testing.assert_array_equal(Losses(logs.parent).read(40)["b"], [steps, losses])


def test_what_the_run_reads_follows_what_was_imported(logs):
    write_metrics(logs, range(1, 6))
    history = LossHistory(logs)
    losses = Losses(logs.parent)
    for step in (4, 5):
        history.add(step, {"a": 0.25})
    found = losses.read(5)
    np.testing.assert_array_equal(found["a"], [[1, 2, 3, 4, 5], [0.5, 0.5, 0.5, 0.25, 0.25]])
    np.testing.assert_array_equal(found["b"][0], [1, 2, 3])
    history.go_back(0)
    np.testing.assert_array_equal(losses.read(2)["a"][0], [1, 2])


def test_steps_that_an_older_folder_trained_again_count_once(logs):
    write_metrics(logs, [1, 2, 3, 4, 3])
    np.testing.assert_array_equal(import_events(logs)["a"][0], [1, 2, 3])


def test_long_event_logs_are_read_in_parts_of_the_same_distance(logs, monkeypatch):
    write_metrics(logs, range(1, 101))
    size = (logs / "events.jsonl").stat().st_size
    monkeypatch.setattr(older_losses, "_READ_BYTES", size // 4)
    np.testing.assert_array_equal(import_events(logs)["a"][0], range(5, 101, 5))


def test_many_readings_become_means(logs, monkeypatch):
    monkeypatch.setattr(older_losses, "MOST", 4)
    write_metrics(logs, range(1, 10))
    steps, losses = import_events(logs)["b"]
    np.testing.assert_array_equal(steps, [2, 5, 8])
    np.testing.assert_allclose(losses, steps + 0.5)


def test_a_history_that_exists_is_not_made_of_events(logs):
    LossHistory(logs).add(1, {"a": 0.5})
    write_metrics(logs, range(1, 5))
    assert len(Losses(logs.parent).read(5)["a"][0]) == 1
    assert not (logs / NAME).exists()


@pytest.mark.parametrize("text", ["", "[]", '{"a": 5}', '{"a": [["x"], [1]]}', '{"a": [[1], []]}'])
def test_what_was_kept_and_cannot_be_read_is_passed_over(logs, text):
    (logs / NAME).write_text(text)
    assert Losses(logs.parent).read(5) == {}


def test_no_folder_and_broken_events_are_no_losses(tmp_path, logs):
    assert Losses(tmp_path / "missing").read(1) == {}
    (logs / "events.jsonl").write_bytes(
        b'{"event": "metrics", "step": 1, "losses": {"a": 1.0, "b": null, "c": NaN}}\n'
        b'{"event": "metrics", "step": "x", "losses": {}}\n'
        b'{"event": "metrics", "step": 2}\n'
        b'{"event": "metrics", "step": 2, "losses": 7}\n'
        b'["metrics"]\n\xff"metrics"\n'
        b'{"event": "metrics", "step": 4, "lo'
    )
    assert Losses(tmp_path).read(1) == {"a": (np.array([1]), np.array([1.0]))}
