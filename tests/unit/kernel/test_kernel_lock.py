"""One writer per model folder; readers are welcome."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from fs_kernel import hookimpl
from fs_kernel.cli import run_cli
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import lock
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.storage.lock import FolderLock
from fs_kernel.testing import ArrayFeed, PlainExecutor, TinyModel
from fs_kernel.trained_model import TrainedModel
from runs import open_tiny, train

HOLDER = """
import sys, time
from pathlib import Path
from fs_kernel.storage.lock import FolderLock
held = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of ``tmp_path``."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def leave_note(folder, age=0.0, **owner):
    path = folder / lock.NAME
    path.write_text(json.dumps(owner))
    os.utime(path, (time.time() - age,) * 2)


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path, holder):
    with pytest.raises(ModelFolderError, match="is in use by process") as caught:
        FolderLock(tmp_path)
    assert f"process {holder.pid} on {socket.gethostname()}" in str(caught.value)
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


def test_a_second_lock_in_one_process_is_refused_too(tmp_path):
    held = FolderLock(tmp_path)
    with pytest.raises(ModelFolderError, match="in use"):
        FolderLock(tmp_path)
    held.release()
    held.release()
    FolderLock(tmp_path).release()


def test_being_refused_does_not_take_the_lock_away(tmp_path, holder):
    for _ in range(2):
        with pytest.raises(ModelFolderError, match="in use"):
            FolderLock(tmp_path)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_the_lock_of_a_killed_process_is_none(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert "pid" in (tmp_path / lock.NAME).read_text()
    FolderLock(tmp_path).release()


def test_a_process_of_this_machine_that_is_gone_leaves_no_lock(tmp_path):
    """However fresh its note is: here the operating system knows."""
    leave_note(tmp_path, host=socket.gethostname(), pid=2**22 + 1, since=time.time())
    FolderLock(tmp_path).release()


@pytest.mark.parametrize(("age", "refused"), [(0, True), (60, True), (-60, True), (600, False)])
def test_a_note_of_another_machine_counts_while_it_is_fresh(tmp_path, age, refused):
    """Clocks of two machines may differ a little, either way."""
    leave_note(tmp_path, age, host="elsewhere", pid=7, since=0)
    if refused:
        with pytest.raises(ModelFolderError, match="process 7 on elsewhere"):
            FolderLock(tmp_path)
        assert json.loads((tmp_path / lock.NAME).read_text())["host"] == "elsewhere"
    else:
        FolderLock(tmp_path).release()


def test_a_sign_of_life_is_left_however_long_a_step_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.05)
    held = FolderLock(tmp_path)
    old = time.time() - 500
    os.utime(tmp_path / lock.NAME, (old, old))
    assert until(lambda: (tmp_path / lock.NAME).stat().st_mtime > old + 400)
    held.release()
    time.sleep(0.2)
    os.utime(tmp_path / lock.NAME, (old, old))
    time.sleep(0.2)
    assert (tmp_path / lock.NAME).stat().st_mtime == pytest.approx(old, abs=2)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "\x00" * 50, "[" * 5000, '{"host": [1]}'])
def test_a_note_that_makes_no_sense_is_no_lock(tmp_path, text):
    (tmp_path / lock.NAME).write_text(text)
    os.utime(tmp_path / lock.NAME, (1, 1))
    FolderLock(tmp_path).release()


def test_a_released_lock_names_nobody(tmp_path):
    FolderLock(tmp_path).release()
    assert json.loads((tmp_path / lock.NAME).read_text()) == {}


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / lock.NAME).mkdir()
    with pytest.raises(ModelFolderError, match="cannot lock"):
        FolderLock(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="an open folder cannot be removed there")
@pytest.mark.skipif(sys.platform == "win32", reason="an open folder cannot be removed there")
def test_a_lock_whose_folder_is_lost_is_taken_again_when_it_is_back(tmp_path):
    (tmp_path / "m").mkdir()
    held = FolderLock(tmp_path / "m")
    (tmp_path / "m" / lock.NAME).unlink()
    (tmp_path / "m").rmdir()
    held.beat()
    (tmp_path / "m").mkdir()
    held.beat()
    with pytest.raises(ModelFolderError, match="in use by process"):
        FolderLock(tmp_path / "m")
    held.release()
    FolderLock(tmp_path / "m").release()


# --- whole runs ---


def test_a_second_run_is_refused_and_changes_nothing(tmp_path):
    train(tmp_path, 1)
    with open_tiny(tmp_path, 3) as run:
        run.advance()
        before = sorted(p.name for p in (tmp_path / "model").rglob("*"))
        with pytest.raises(ModelFolderError, match="in use by process"):
            open_tiny(tmp_path, 3)
        assert sorted(p.name for p in (tmp_path / "model").rglob("*")) == before
        assert run.train().step == 3
    assert train(tmp_path, 4).step == 4


def test_reading_needs_no_lock(tmp_path, capsys):
    train(tmp_path, 1)
    with open_tiny(tmp_path, 3) as run:
        run.advance()
        for words in (["info"], ["checkpoints"], ["verify"]):
            assert run_cli(["model", *words, str(tmp_path / "model")]) == 0
        objects = {"feeds": ArrayFeed(), "executors": PlainExecutor()}
        trained = TrainedModel(tmp_path / "model", {}, TinyModel(), objects)
        assert trained.network.sides == ("a", "b")


def test_going_back_needs_the_lock(tmp_path, capsys):
    train(tmp_path, 2, every=1)
    with open_tiny(tmp_path, 5) as run:
        run.advance()
        assert run_cli(["model", "restore", str(tmp_path / "model")]) == 5
        assert "in use by process" in capsys.readouterr().err
    assert run_cli(["model", "restore", str(tmp_path / "model")]) == 0


def test_the_lock_is_free_after_a_failed_start(tmp_path):
    class Failing:
        name = "failing"

        @hookimpl
        def create_addon(self):
            return self

        def before_training(self):
            raise ValueError("not today")

    with pytest.raises(Exception, match="not today"):
        open_tiny(tmp_path, 1, addons=[Failing()])
    assert train(tmp_path, 1).step == 1


def test_a_run_that_ended_between_looking_and_locking_is_noticed(tmp_path):
    """Or the steps it trained would be trained anew, and its checkpoint dropped as an old one."""
    train(tmp_path, 2)

    class Late(ArrayFeed):
        @hookimpl
        def open_feed(self, folders, spec):
            if not self.done:
                self.done = True
                train(tmp_path, 4)
            return super().open_feed(folders, spec)

    feed = Late()
    feed.done = False
    with pytest.raises(ModelFolderError, match="another run has just changed"):
        open_tiny(tmp_path, 6, feed=feed)
    assert train(tmp_path, 6).step == 6
    assert Checkpoints(tmp_path / "model").checkpoints()[0].step == 6


def test_two_runs_that_make_one_new_folder(tmp_path):
    class Late(ArrayFeed):
        @hookimpl
        def open_feed(self, folders, spec):
            if not self.done:
                self.done = True
                train(tmp_path, 3)
            return super().open_feed(folders, spec)

    feed = Late()
    feed.done = False
    with pytest.raises(ModelFolderError, match="another run has just changed"):
        open_tiny(tmp_path, 6, feed=feed)


def test_what_the_user_of_a_second_run_reads(tmp_path, holder):
    (tmp_path / "model").mkdir()
    (tmp_path / lock.NAME).replace(tmp_path / "model" / lock.NAME)
    with pytest.raises(ModelFolderError) as caught:
        open_tiny(tmp_path, 1)
    assert str(caught.value) == (
        f"{tmp_path / 'model'} is in use by process {holder.pid} on {socket.gethostname()}; "
        "stop that run first (fs swap and fs model may read)"
    )
