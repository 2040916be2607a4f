"""events.jsonl, run.json and errors.log."""

from __future__ import annotations

import json
import math

import pytest
from fs_kernel.training import records as module
from fs_kernel.training.records import SCHEMA, EventLog, log_error, user_log_folder, write_run_file


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_one_line_with_version_kind_time_and_step(tmp_path):
    log = EventLog(tmp_path / "logs")
    log.write("started", 0, target=10)
    log.write("warning", 3, message="two\nlines, ä, \udcff and \u2028")
    found = lines(tmp_path / "logs/events.jsonl")
    assert [(e["v"], e["event"], e["step"]) for e in found] == [
        (SCHEMA, "started", 0),
        (SCHEMA, "warning", 3),
    ]
    assert all(e["time"] > 1.6e9 for e in found)
    assert found[1]["message"] == "two\nlines, ä, \udcff and \u2028"


def test_numbers_json_lacks_are_null(tmp_path):
    EventLog(tmp_path).write("metrics", 1, losses={"a": math.nan, "b": [math.inf, 1.0]})
    assert lines(tmp_path / "events.jsonl")[0]["losses"] == {"a": None, "b": [None, 1.0]}


def test_events_of_earlier_sessions_stay(tmp_path):
    EventLog(tmp_path).write("started", 0)
    EventLog(tmp_path).write("started", 5)
    assert [e["step"] for e in lines(tmp_path / "events.jsonl")] == [0, 5]


def test_rotation_keeps_the_newest_files_and_every_line_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROTATE_BYTES", 500)
    log = EventLog(tmp_path)
    for step in range(100):
        log.write("metrics", step)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["events.1.jsonl", "events.2.jsonl", "events.3.jsonl", "events.jsonl"]
    order = ["events.3.jsonl", "events.2.jsonl", "events.1.jsonl", "events.jsonl"]
    steps = [e["step"] for name in order for e in lines(tmp_path / name)]
    assert steps == list(range(steps[0], 100))


def test_a_disk_that_takes_no_event_stops_nobody(tmp_path, monkeypatch):
    log = EventLog(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.Path, "open", full)
        log.write("metrics", 1)
    log.write("metrics", 2)
    assert [e["step"] for e in lines(tmp_path / "events.jsonl")] == [2]


def test_a_log_folder_that_was_removed_stops_nobody(tmp_path):
    log = EventLog(tmp_path / "logs")
    (tmp_path / "logs").rmdir()
    log.write("metrics", 1)


def test_run_files_of_every_session_are_kept(tmp_path):
    write_run_file(tmp_path, 1, {"session": 1, "bad": math.nan})
    write_run_file(tmp_path, 2, {"session": 2})
    found = {p.name: json.loads(p.read_text()) for p in tmp_path.glob("*.json")}
    assert found == {
        "run.json": {"session": 2},
        "run_0001.json": {"session": 1, "bad": None},
        "run_0002.json": {"session": 2},
    }


def test_errors_are_appended_with_their_traceback(tmp_path):
    for number in range(2):
        try:
            raise ValueError(f"number {number}")
        except ValueError as error:
            path = log_error(tmp_path / "logs", error)
    text = path.read_text()
    assert text.count("Traceback") == 2
    assert "number 0" in text
    assert "number 1" in text


def test_an_error_that_cannot_be_logged_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    assert log_error(tmp_path / "file", ValueError("x")) is None


@pytest.mark.parametrize("text", ["\udcff", "ä"])
def test_any_text_can_be_logged(tmp_path, text):
    assert log_error(tmp_path, ValueError(text)) is not None


def test_where_errors_without_a_model_go(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert user_log_folder() == tmp_path / "fs-kernel"
