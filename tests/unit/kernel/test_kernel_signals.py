"""What may happen to a run from outside, and what becomes of it: each outcome is defined."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

import pytest
import torch
from forked import Child, fs_run, saved_step, until
from fs_kernel.storage import files
from fs_kernel.storage.checkpoints import Checkpoints
from runs import SteppedTrainer, held, identical, losses, open_tiny, state_of, train

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")
FOREVER = ("-i", "1000000", "--set", "save.interval=5")


@pytest.fixture(autouse=True)
def _one_thread():
    """The same sums in the same order as in the children."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start(tmp_path):
    """Starts ``fs run`` in a child and waits for its first checkpoint."""
    children = []

    def run(*arguments, output=None, wait=True):
        child = Child(fs_run(tmp_path, *arguments), output or tmp_path / "output")
        children.append(child)
        if wait:
            assert until(lambda: saved_step(tmp_path) or not child.alive())
            assert child.alive(), (tmp_path / "output").read_text()
        return child

    yield run
    for child in children:
        child.kill()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_ends_well(tmp_path, start, name):
    child = start(*FOREVER)
    child.send(getattr(signal, name))
    assert child.wait() == 0
    state = state_of(tmp_path)
    assert state["stop_reason"] == "stopped"
    (line,) = (tmp_path / "output").read_text().splitlines()
    assert line == f"stopped at step {state['iterations']}, saved in {tmp_path / 'model'}"


def test_a_signal_s_exit_code_can_be_chosen(tmp_path, start):
    child = start(*FOREVER, "--exit-on-preempt", "85")
    child.send(signal.SIGTERM)
    assert child.wait() == 85
    assert state_of(tmp_path)["stop_reason"] == "stopped"
    (tmp_path / "model/checkpoint.json").rename(tmp_path / "kept")
    assert Checkpoints(tmp_path / "model").exists()


def test_that_exit_code_is_for_signals_alone(start):
    assert start("-i", "2", "--exit-on-preempt", "85", wait=False).wait() == 0


def test_sigusr1_saves_at_once_and_training_continues(tmp_path, start, events):
    child = start("-i", "1000000", "--set", "save.interval=1000000", wait=False)
    assert until(lambda: (tmp_path / "model/logs/events.jsonl").exists())
    assert until(lambda: events(tmp_path, "metrics"))
    for count in (1, 2):
        time.sleep(0.05)
        child.send(signal.SIGUSR1)
        assert until(lambda count=count: len(events(tmp_path, "saved")) == count)
        assert child.alive()
    child.send(signal.SIGTERM)
    assert child.wait() == 0


def test_under_nohup_the_end_of_the_terminal_does_not_end_it(tmp_path, start):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        child = start(*FOREVER)
    finally:
        signal.signal(signal.SIGHUP, before)
    child.send(signal.SIGHUP)
    step = saved_step(tmp_path)
    assert until(lambda: saved_step(tmp_path) > step)
    child.send(signal.SIGTERM)
    assert child.wait() == 0


class Stuck(SteppedTrainer):
    """Hangs in step 8."""

    def after(self, batch, result):
        if batch.step == 8:
            time.sleep(60)
        return result


def test_a_second_ctrl_c_ends_a_step_that_hangs(tmp_path, start, events):
    child = start(*FOREVER, "--trainer", "test_kernel_signals:Stuck")
    assert until(lambda: events(tmp_path, "metrics")[-1]["step"] == 7)
    child.send(signal.SIGINT)
    time.sleep(0.2)
    assert child.alive()
    child.send(signal.SIGINT)
    assert child.wait(10) == 130
    assert (tmp_path / "output").read_text().split("\n") == ["", "fs: interrupted", ""]
    assert state_of(tmp_path)["iterations"] == 5


def test_max_time_ends_the_run_saved(tmp_path, start):
    assert start("-i", "1000000", "--max-time", "1s", wait=False).wait() == 0
    state = state_of(tmp_path)
    assert state["stop_reason"] == "time"
    assert "time at step" in (tmp_path / "output").read_text()


# --- resumed exactly, however it ended ---


def on_to(folder, target):
    """Begin or resume with the program, in a child."""
    folder.mkdir(exist_ok=True)
    child = Child(fs_run(folder, "-i", str(target), "--set", "save.interval=0"), folder / "output")
    assert child.wait() == 0, (folder / "output").read_text()
    return folder


@pytest.mark.parametrize("stop", range(1, 6))
def test_stopping_after_any_step_changes_nothing(tmp_path, events, stop):
    train(tmp_path, stop)
    torch.manual_seed(99)
    train(tmp_path, 6)
    other = tmp_path / "straight"
    other.mkdir()
    train(other, 6)
    assert identical(held(tmp_path), held(other))
    assert losses(tmp_path, events) == losses(other, events)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_at_any_moment_changes_nothing(tmp_path, start, events, kind):
    """Dropout, SpatialDropout2D, GaussianNoise and Adam continue to the bit."""
    child = start("-i", "1000000", "--set", "save.interval=1")
    assert until(lambda: saved_step(tmp_path) >= 3)
    child.send(kind)
    assert child.wait() == (0 if kind == signal.SIGTERM else -kind)
    at = state_of(tmp_path)["iterations"]
    on_to(tmp_path, at + 4)
    other = on_to(tmp_path / "straight", at + 4)
    assert identical(held(tmp_path), held(other))
    assert losses(tmp_path, events)[-4:] == losses(other, events)[-4:]


@pytest.mark.parametrize("file", ["weights.safetensors", "training.safetensors", "manifest.json"])
def test_a_kill_while_a_checkpoint_is_written_changes_nothing(tmp_path, events, file):
    """The child is killed in the middle of a save, with training going on beside it."""
    on_to(tmp_path, 2)
    write = files.write_chunks

    def slowly(path, chunks):
        if path.name == file:
            (tmp_path / "inside").touch()
            time.sleep(60)
        return write(path, chunks)

    def work():
        files.write_chunks = slowly
        return fs_run(tmp_path, "-i", "1000000", "--set", "save.interval=3")()

    child = Child(work, tmp_path / "output")
    try:
        assert until(
            lambda: (tmp_path / "inside").exists() and events(tmp_path)[-1]["step"] > 5, 20
        )
    finally:
        child.kill()
    assert list((tmp_path / "model/checkpoints").glob(".writing-*"))
    assert state_of(tmp_path)["iterations"] == 2
    on_to(tmp_path, 6)
    assert not list((tmp_path / "model/checkpoints").glob(".writing-*"))
    assert identical(held(tmp_path), held(on_to(tmp_path / "straight", 6)))


# --- the surroundings vanish ---


def test_a_terminal_that_is_gone_changes_nothing(tmp_path, start):
    """Writing to it fails with EIO; a SIGHUP comes with it and saves."""
    master, slave = os.openpty()
    child = start(*FOREVER, output=slave)
    os.close(slave)
    os.close(master)
    child.send(signal.SIGHUP)
    assert child.wait() == 0
    assert state_of(tmp_path)["stop_reason"] == "stopped"


def test_a_reader_of_stderr_that_is_gone_changes_nothing(tmp_path, start):
    reader, writer = os.pipe()
    child = start(*FOREVER, output=writer)
    os.close(writer)
    os.close(reader)
    child.send(signal.SIGTERM)
    assert child.wait() == 0


def test_a_closed_stderr_changes_nothing(tmp_path):
    on_to(tmp_path, 1)

    def work():
        os.close(2)
        sys.stderr = None
        return fs_run(tmp_path, "-i", "3")()

    assert Child(work, tmp_path / "output").wait() == 0
    assert state_of(tmp_path)["iterations"] == 3


def test_a_model_folder_deleted_under_the_run_is_made_again(tmp_path, start):
    child = start(*FOREVER)
    (tmp_path / "model").rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    assert until(lambda: saved_step(tmp_path))
    child.send(signal.SIGTERM)
    assert child.wait() == 0
    assert state_of(tmp_path)["stop_reason"] == "stopped"
    on_to(tmp_path, state_of(tmp_path)["iterations"] + 1)


def test_logs_deleted_under_the_run_are_made_again(tmp_path):
    run = open_tiny(tmp_path, 6, every=2)
    for metrics in run:
        if metrics.step == 3:
            shutil.rmtree(tmp_path / "model/logs")
    run.close()
    assert state_of(tmp_path)["iterations"] == 6
    assert (tmp_path / "model/logs/events.jsonl").exists()


def test_checkpoints_deleted_under_the_run_are_made_again(tmp_path):
    run = open_tiny(tmp_path, 6, every=2)
    for metrics in run:
        if metrics.step == 3:
            run._saves.checkpointer.collect(wait=True)
            shutil.rmtree(tmp_path / "model/checkpoints")
    run.close()
    assert state_of(tmp_path)["iterations"] == 6
