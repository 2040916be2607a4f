"""``fs ctl`` and keys on a run of the built-in parts, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from addon_runs import events
from fs_kernel.cli import run_cli
from fs_kernel.storage.checkpoints import Checkpoints
from small_runs import OPTIONS, SMALL

SETTINGS = OPTIONS | {
    "training.iterations": 100_000,
    "training.addons": '["console", "preview", "control"]',
    "save.interval": 100_000,
}


def words(model, people):
    options = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    faces = ("-A", people / "A", "-B", people / "B")
    line = (sys.executable, "-m", "fs_kernel", "run", "-m", model, "-t", SMALL, *faces, *options)
    return [str(word) for word in line]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path, people):
    """A run in the background: its model folder and its process."""
    model = tmp_path / "m"
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(
            words(model, people), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    until(lambda: child.poll() is not None or (model / "control" / "session.json").exists())
    yield model, child
    child.kill()
    child.wait()


def ctl(capsys, model, *arguments):
    code = run_cli(["ctl", str(model), *arguments])
    output = capsys.readouterr()
    return code, output.out + output.err


def test_a_session_is_controlled_from_outside(running, capsys):
    model, child = running
    until(lambda: events(model, "metrics"))
    code, output = ctl(capsys, model, "status", "--json")
    assert code == 0
    assert json.loads(output)["facts"]["target"] == 100_000
    assert ctl(capsys, model, "set", "optimizer.learning_rate=2e-5")[0] == 0
    assert ctl(capsys, model, "mask", "on")[0] == 0
    code, output = ctl(capsys, model, "set", "optimizer.optimizer=lion")
    assert (code, "cannot change while training" in output) == (2, True)
    assert ctl(capsys, model, "save")[0] == 0
    code, output = ctl(capsys, model, "snapshot")
    assert (code, "as a snapshot" in output) == (0, True)
    assert ctl(capsys, model, "preview")[0] == 0
    code, output = ctl(capsys, model, "stop")
    assert code == 0
    step = int(output.split("step ")[1].split(",")[0])
    assert child.wait(20) == 0
    made = Checkpoints(model).checkpoints()
    assert made[0].step == step
    assert [g.snapshot for g in made].count(True) == 1
    changed = {e["name"]: e["value"] for e in events(model, "option")}
    assert changed == {"optimizer.learning_rate": 2e-5, "preview.mask": True}
    assert len(events(model, "saved")) == 3
    assert events(model, "finished")[-1]["reason"] == "stopped"
    assert ctl(capsys, model, "stop") == (5, f"fs: no session is running in {model}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
@pytest.mark.parametrize("keys", ["q", "\x03\x03"])
def test_keys_on_the_terminal_of_a_run(tmp_path, people, keys):
    import pty
    import termios

    model = tmp_path / "m"
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, words(model, people))
    shown = bytearray()

    def drain():
        with contextlib.suppress(OSError):
            while data := os.read(terminal, 4096):
                shown.extend(data)

    threading.Thread(target=drain, daemon=True).start()
    before = termios.tcgetattr(terminal)
    until(lambda: b"? help" in shown and events(model, "metrics"))
    assert not termios.tcgetattr(terminal)[3] & termios.ICANON
    if keys == "q":
        os.write(terminal, b"m")
        until(lambda: events(model, "option"))
        os.write(terminal, b"s")
        until(lambda: events(model, "saved"))
    for key in keys:
        os.write(terminal, key.encode())
        time.sleep(0.05)
    while (status := os.waitpid(pid, os.WNOHANG))[0] == 0:
        time.sleep(0.05)
    assert termios.tcgetattr(terminal) == before
    code = os.waitstatus_to_exitcode(status[1])
    assert code == 0 or (keys == "\x03\x03" and code == 130), shown.decode(errors="replace")
    os.close(terminal)
