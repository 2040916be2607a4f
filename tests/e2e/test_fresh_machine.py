"""The main job from wheels on a fresh machine: train, stop, resume, swap."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

BUILT_IN = {
    "fs-model-original": "there is no model 'original'",
    "fs-trainer-standard": "there is no trainer 'standard'",
    "fs-feed-faces": "there is no feed 'faces'",
    "fs-executor-torch": "there is no executor 'torch'",
}
WATCHERS = {
    "fs-addon-console": "there is no add-on 'console'",
    "fs-addon-preview": "there is no add-on 'preview'",
}
SMALL = Path(__file__).parents[1] / "data" / "small_net.py"


def events(model):
    lines = (model / "logs" / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def wait_for_step(process, model, step, seconds=240):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        path = model / "logs" / "events.jsonl"
        # The last line may still be half-written.
        whole = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        if any(json.loads(line)["step"] >= step for line in whole):
            return
        time.sleep(0.2)
    pytest.fail(f"step {step} was not reached in {seconds} s")


def test_train_20_steps_stop_resume_and_swap(full_machine, tmp_path):
    people, model = tmp_path / "people", tmp_path / "model"
    drawn = full_machine.fs("faces", "demo", people, "--count", "30", "--size", "128")
    assert drawn.returncode == 0, drawn.stderr

    process = full_machine.start(
        *("run", "-A", people / "A", "-B", people / "B", "-m", model, "-b", "2", "--seed", "3"),
        *("--set", "model.original.lowmem=true", "--set", "save.keep=1"),
    )
    wait_for_step(process, model, 20)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors

    info = json.loads(full_machine.fs("model", "info", model, "--json").stdout)
    assert info["stop_reason"] == "stopped"
    assert info["iterations"] >= 20
    assert info["parameters"] == 60_565_126
    assert full_machine.fs("model", "verify", model).returncode == 0

    total = info["iterations"] + 2
    resumed = full_machine.fs("run", "-m", model, "-i", total)
    assert resumed.returncode == 0, resumed.stderr
    after = json.loads(full_machine.fs("model", "info", model, "--json").stdout)
    assert (after["iterations"], after["complete"]) == (total, True)
    assert after["sessions"] == 2

    again = full_machine.fs("run", "-m", model)
    assert again.returncode == 0
    assert "already has" in again.stderr

    log = events(model)
    assert [e["event"] for e in log].count("started") == 3
    steps = [e["step"] for e in log if e["event"] == "metrics"]
    assert steps == sorted(set(steps)), "every step once, in order, over both sessions"
    assert (model / "previews" / "latest.png").stat().st_size > 10_000

    for direction, side in (("a2b", "A"), ("b2a", "B")):
        out = tmp_path / direction
        swapped = full_machine.fs("swap", model, people / side, out, "--direction", direction)
        assert swapped.returncode == 0, swapped.stderr
        names = sorted(path.name for path in out.iterdir())
        assert names == sorted(path.name for path in (people / side).iterdir())
    checked = full_machine.fs("faces", "check", tmp_path / "a2b", "--json")
    assert json.loads(checked.stdout)["usable"] == 30, "results carry their header"


@pytest.mark.parametrize("missing", BUILT_IN)
def test_a_kernel_without_a_built_in_starts_and_says_what_is_missing(
    full_machine, tmp_path, missing
):
    (tmp_path / "faces").mkdir()
    full_machine.uninstall(missing)
    try:
        assert full_machine.fs("--help").returncode == 0
        listed = full_machine.fs("plugins", "list", "--json")
        assert missing not in {row["distribution"] for row in json.loads(listed.stdout)}
        faces, model = tmp_path / "faces", tmp_path / "model"
        result = full_machine.fs("run", "-A", faces, "-B", faces, "-m", model)
    finally:
        full_machine.install([missing])
    assert result.returncode == 4
    assert BUILT_IN[missing] in result.stderr
    assert f"pip install {missing}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not model.exists(), "a run that cannot start leaves no trace"


@pytest.mark.parametrize("missing", WATCHERS)
def test_without_a_watcher_a_run_says_so_and_trains(full_machine, people, tmp_path, missing):
    folders = ("-A", people / "A", "-B", people / "B", "-m", tmp_path / "m")
    full_machine.uninstall(missing)
    try:
        result = full_machine.fs("run", *folders, "-t", SMALL, "-b", "2", "-i", "2")
    finally:
        full_machine.install([missing])
    assert result.returncode == 0, result.stderr
    assert WATCHERS[missing] in result.stderr
    assert f"pip install {missing}" in result.stderr
    assert (tmp_path / "m" / "checkpoints" / "000000002").is_dir()


def test_without_the_library_the_model_that_needs_it_is_named(full_machine, tmp_path):
    (tmp_path / "faces").mkdir()
    full_machine.uninstall("fs-nn")
    try:
        assert full_machine.fs("--help").returncode == 0
        faces, model = tmp_path / "faces", tmp_path / "model"
        result = full_machine.fs("run", "-A", faces, "-B", faces, "-m", model)
    finally:
        full_machine.install(["fs-nn"])
    assert result.returncode == 4
    assert "fs-model-original" in result.stderr
    assert "fs_nn" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not model.exists()


def test_the_kernel_alone_starts(new_machine, tmp_path):
    machine = new_machine(["fs-kernel", "fs-graph"])
    assert "run" in machine.fs("--help").stdout
    for command, package in (
        ("plugins", "fs-doctor"),
        ("config", "fs-config"),
        ("swap", "fs-swap"),
    ):
        result = machine.fs(command)
        assert (result.returncode, f"pip install {package}" in result.stderr) == (4, True)
    result = machine.fs("faces", "check", tmp_path)
    assert (result.returncode, "pip install fs-feed-faces" in result.stderr) == (4, True)
    result = machine.fs("run", "-m", tmp_path / "m")
    assert (result.returncode, "pip install fs-model-original" in result.stderr) == (4, True)


def test_the_demo_does_the_whole_job_and_scores_it(full_machine, tmp_path):
    folder = tmp_path / "demo"
    options = ("--faces", "25", "-i", "2", "-b", "1", "--json")
    result = full_machine.fs("demo", folder, *options)
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout[result.stdout.index("{") :])
    assert facts["before"]["a2a"] != facts["after"]["a2a"]
    assert all((folder / path).stat().st_size > 10_000 for path in facts["pictures"])
    assert "$ fs run -A" in result.stderr
    again = full_machine.fs("demo", folder, *options)
    assert again.returncode == 0, again.stderr
    assert "already has 2 steps" in again.stderr


def test_ctrl_c_in_the_demo_saves_and_ends_it(full_machine, tmp_path):
    folder = tmp_path / "demo"
    process = full_machine.start("demo", folder, "--faces", "25", "-i", "100000", "-b", "1")
    wait_for_step(process, folder / "model", 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "the demo stopped at: fs run" in errors
    info = json.loads(full_machine.fs("model", "info", folder / "model", "--json").stdout)
    assert info["stop_reason"] == "stopped"
    assert info["iterations"] >= 2
