"""Bounds on the disk, and readers beside a writer."""

from __future__ import annotations

import threading

import pytest
import torch
from fs_kernel.cli import run_cli
from fs_kernel.errors import ConfigError
from fs_kernel.storage import checkpoints as checkpoint
from fs_kernel.storage import files, tree
from fs_kernel.storage.checkpoints import Checkpoints
from generations import content, loaded, names
from runs import open_tiny, train

# --- bounds on the disk ---


def test_as_many_checkpoints_are_kept_as_fit(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    size = checkpoints.write(content(1), keep=9).bytes
    for step in range(2, 8):
        checkpoints.write(content(step), keep=9, max_bytes=size * 4 + 100)
        total = sum(g.bytes for g in checkpoints.checkpoints())
        assert total + size <= size * 4 + 100
    assert names(tmp_path) == ["000000007", "000000006", "000000005"]
    checkpoints.write(content(8), keep=9, max_bytes=1)
    assert names(tmp_path) == ["000000008"]
    assert loaded(tmp_path) == 8


def test_max_disk_is_honoured_at_every_moment_of_a_run(tmp_path, monkeypatch):
    train(tmp_path, 1)
    size = Checkpoints(tmp_path / "model").checkpoints()[0].bytes
    limit = int(size * 3.5)
    seen = []
    pointed = Checkpoints.set_current

    def look(self, name):
        pointed(self, name)
        seen.append(sum(p.stat().st_size for p in self._folder.rglob("*") if p.is_file()))

    monkeypatch.setattr(Checkpoints, "set_current", look)
    with open_tiny(tmp_path, 6, set={"save.keep": 50, "save.max_disk": str(limit)}) as run:
        assert run.info.disk_bytes == limit
        for _ in run:
            run.save()
    assert len(seen) >= 5
    assert max(seen) <= limit
    assert len(Checkpoints(tmp_path / "model").checkpoints()) == 2


def test_a_bound_that_cannot_hold_two_is_refused_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match=r"save\.max_disk") as caught:
        open_tiny(tmp_path, 1, set={"save.max_disk": "10kB"})
    assert caught.value.exit_code == 2
    assert "too small for a checkpoint of about" in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_the_start_says_how_much_disk_the_checkpoints_take(tmp_path):
    train(tmp_path, 1, set={"save.keep": 3})
    size = Checkpoints(tmp_path / "model").checkpoints()[0].bytes
    with open_tiny(tmp_path, 2) as run:
        assert run.info.disk_bytes == 4 * size
    facts = files.read_json(tmp_path / "model/logs/run.json")
    assert facts["disk_bytes"] == 4 * size


def test_a_pointer_that_cannot_be_replaced_does_not_pile_up_checkpoints(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(content(1), keep=2)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", full)
        for step in (2, 3, 4):
            with pytest.raises(OSError, match="No space"):
                checkpoints.write(content(step), keep=2)
    assert names(tmp_path) == ["000000001"]
    assert loaded(tmp_path) == 1


def test_a_clock_that_jumps_back_does_not_change_the_order(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    for step, now in enumerate((1e9, 2e9, 5e8, 1.0), 1):
        monkeypatch.setattr(checkpoint.time, "time", lambda now=now: now)
        checkpoints.write(content(step), keep=3)
    assert names(tmp_path) == ["000000004", "000000003", "000000002"]
    (tmp_path / "checkpoint.json").unlink()
    assert loaded(tmp_path) == 4


# --- readers beside a writer ---


def test_reading_continues_while_a_run_saves(tmp_path, capsys):
    """With one checkpoint kept, what a reader has chosen is gone a moment later."""
    train(tmp_path, 1)
    run = open_tiny(tmp_path, 10**6, set={"save.keep": 1})
    done = threading.Event()
    failures = []

    def read():
        while not done.is_set():
            code = run_cli(["model", "info", str(tmp_path / "model")])
            checkpoints = Checkpoints(tmp_path / "model")

            def whole(checkpoints=checkpoints):
                return checkpoints.read_weights(checkpoints.latest_valid(failures.append))

            failures.extend([] if checkpoints.read_consistently(whole) else ["nothing"])
            failures.extend([code] if code else [])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(12):
        run.advance()
        run.save()
    done.set()
    reader.join()
    run.close()
    assert failures == []
    assert "using checkpoint" not in capsys.readouterr().err


def test_a_checkpoint_is_never_listed_half_removed(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(content(1), keep=1)
    seen = []
    monkeypatch.setattr(
        checkpoint.shutil, "rmtree", lambda path, **_: seen.append((names(tmp_path), path.name))
    )
    checkpoints.write(content(2), keep=1)
    assert seen == [(["000000002"], ".writing-000000001")]


def test_packed_states_use_the_given_copy():
    copied = []
    tree.pack({"x": torch.ones(2)}, lambda tensor: copied.append(tensor) or tensor.clone())
    assert len(copied) == 1
