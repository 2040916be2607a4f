"""The life of a run: totals, seeds, stopping, resuming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from fs_kernel.storage.checkpoints import Checkpoints
from runs import Requesting, held, identical, losses, open_tiny, state_of, train

# --- totals, seeds, resuming ---


def test_iterations_are_the_total_over_all_sessions(tmp_path):
    assert train(tmp_path, 3).step == 3
    outcome = train(tmp_path, 5)
    assert (outcome.reason, outcome.step) == ("target", 5)
    state = state_of(tmp_path)
    assert (state["iterations"], state["target_iterations"]) == (5, 5)
    assert [s["steps"] for s in state["sessions"]] == [3, 2]
    assert train(tmp_path, 4).step == 5


def test_one_seed_gives_one_run_to_the_bit(tmp_path, events):
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        (tmp_path / name).mkdir()
        train(tmp_path / name, 4, set={"training.seed": seed})
    one, two, three = (tmp_path / n for n in ("one", "two", "three"))
    assert losses(one, events) == losses(two, events)
    assert losses(one, events) != losses(three, events)
    assert identical(held(one), held(two))


@pytest.mark.parametrize("stops", [(3,), (1, 2, 4)])
def test_stopping_and_resuming_changes_nothing(tmp_path, events, stops):
    """Dropout, noise, moments, order of faces: all as if nothing had happened."""
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", 6)
    for target in (*stops, 6):
        torch.manual_seed(target * 1000)
        train(tmp_path / "stopped", target)
    assert losses(tmp_path / "straight", events) == losses(tmp_path / "stopped", events)
    assert identical(held(tmp_path / "straight"), held(tmp_path / "stopped"))


def test_dropout_and_noise_are_at_work(tmp_path, events):
    """Without them the tests of exact resuming would prove little."""
    for name, rate in (("with", 0.5), ("without", 0.0)):
        (tmp_path / name).mkdir()
        train(tmp_path / name, 2, set={"model.tiny.dropout": rate})
    assert losses(tmp_path / "with", events) != losses(tmp_path / "without", events)


CHILD = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
from pathlib import Path
from fs_kernel.testing import tiny_run
values = {"training.iterations": 1000000, "save.interval": 2}
with tiny_run(Path(sys.argv[1]), set=values) as run:
    for metrics in run:
        print(metrics.step, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_resumes_exactly_from_its_last_checkpoint(tmp_path, events):
    for name in ("killed", "straight"):
        (tmp_path / name).mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        text=True,
    )
    try:
        for line in child.stdout:
            if int(line) >= 5 and Checkpoints(tmp_path / "killed/model").checkpoints()[:1]:
                break
    finally:
        child.kill()
        child.wait()
    start = state_of(tmp_path / "killed")["iterations"]
    assert start >= 2
    assert start % 2 == 0
    target = start + 3
    outcome = train(tmp_path / "killed", target)
    assert outcome.step == target
    train(tmp_path / "straight", target)
    assert identical(held(tmp_path / "straight"), held(tmp_path / "killed"))
    assert losses(tmp_path / "straight", events)[-3:] == losses(tmp_path / "killed", events)[-3:]


# --- iterating, requests, closing ---


def test_a_run_is_iterated_step_by_step(tmp_path):
    with open_tiny(tmp_path, 3) as run:
        seen = [metrics.step for metrics in run]
    assert seen == [1, 2, 3]
    assert state_of(tmp_path)["iterations"] == 3


def test_breaking_out_of_a_loop_saves(tmp_path):
    with open_tiny(tmp_path, 100) as run:
        for metrics in run:
            if metrics.step == 2:
                break
    assert state_of(tmp_path)["iterations"] == 2
    assert state_of(tmp_path)["stop_reason"] == "stopped"


def test_a_run_that_was_not_trained_leaves_no_checkpoint(tmp_path):
    with open_tiny(tmp_path, 3):
        pass
    assert not Checkpoints(tmp_path / "model").exists()


def test_closing_twice_and_after_the_end_does_nothing(tmp_path, events):
    run = open_tiny(tmp_path, 2)
    run.train()
    run.close()
    run.close()
    assert len(events(tmp_path, "finished")) == 1


def test_closing_without_saving(tmp_path):
    run = open_tiny(tmp_path, 5)
    next(iter(run))
    run.close(save=False)
    assert not Checkpoints(tmp_path / "model").exists()


def test_an_error_of_the_caller_in_the_loop_does_not_save(tmp_path, events):
    train(tmp_path, 2)

    def misuse():
        with open_tiny(tmp_path, 9) as run:
            for _ in run:
                raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        misuse()
    assert state_of(tmp_path)["iterations"] == 2
    (finished,) = events(tmp_path, "finished")[1:]
    assert (finished["reason"], finished["error"]) == ("failed", "ZeroDivisionError: mine")
    assert "mine" in (tmp_path / "model/logs/errors.log").read_text()


def test_a_stop_request_finishes_the_step_and_saves(tmp_path):
    run = open_tiny(tmp_path, 100_000)
    threading.Timer(0.2, run.request_stop).start()
    outcome = run.train()
    assert outcome.reason == "stopped"
    assert 0 < outcome.step < 100_000
    state = state_of(tmp_path)
    assert (state["iterations"], state["stop_reason"]) == (outcome.step, "stopped")


def test_an_addon_can_stop_a_run(tmp_path):
    addon = Requesting("stop", 2)
    outcome = train(tmp_path, 100_000, addons=[addon])
    assert outcome.reason == "stopped"
    assert addon.heard[-1] == outcome


def test_a_save_request_saves_between_steps(tmp_path, events):
    run = open_tiny(tmp_path, 4)
    for metrics in run:
        if metrics.step == 2:
            run.request_save()
    run.close()
    assert [e["step"] for e in events(tmp_path, "saved")] == [2, 4]


def test_a_preview_request_gives_every_direction(tmp_path, events):
    addon = Requesting("preview", -1)
    with open_tiny(tmp_path, 3, addons=[addon]) as run:
        for metrics in run:
            if metrics.step == 1:
                run.request_preview(5)
    (preview,) = [x for x in addon.heard if hasattr(x, "swaps")][:1]
    assert preview.step == 2 or preview.step == 1
    assert set(preview.swaps) == {(s, t) for s in "ab" for t in "ab"}
    assert preview.swaps["a", "b"].shape == (5, 16, 16, 3)
    assert preview.swaps["a", "b"].dtype == "uint8"
    assert events(tmp_path, "preview")


def test_a_preview_does_not_change_training(tmp_path, events):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    train(tmp_path / "without", 4)
    with open_tiny(tmp_path / "with", 4) as run:
        for _ in run:
            run.request_preview()
    assert losses(tmp_path / "with", events) == losses(tmp_path / "without", events)
    assert identical(held(tmp_path / "with"), held(tmp_path / "without"))


def test_a_time_limit_ends_the_run_saved(tmp_path):
    with open_tiny(tmp_path, 10**6) as run:
        outcome = run.train(max_seconds=0.2)
    assert outcome.reason == "time"
    assert state_of(tmp_path)["iterations"] == outcome.step > 0


def test_f1_the_target_is_a_total_and_the_limit_is_the_sessions(tmp_path):
    ends = []
    for _ in range(2):
        with open_tiny(tmp_path, 10**6) as run:
            ends.append(run.train(max_seconds=0.05).step)
    state = state_of(tmp_path)
    assert state["target_iterations"] == 10**6
    # Sessions without a step are left out; a busy machine may take all the time to start.
    steps = [ends[0], ends[1] - ends[0]]
    assert [s["steps"] for s in state["sessions"]] == [n for n in steps if n]
    assert train(tmp_path, ends[1] + 2).step == ends[1] + 2
