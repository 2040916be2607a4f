"""``fs run --devices``: processes that are lost, hang, are told to stop, or cannot go on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

DATA = Path(__file__).parents[1] / "data"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")


class Session:
    """``fs run`` of a small network in a model folder, in a process of its own."""

    def __init__(self, folder, *arguments, devices=2, pause=0.0, **options):
        self.model = folder / "model"
        for side in "ab":
            (folder / side).mkdir(parents=True, exist_ok=True)
        given = {
            "training.device": "cpu",
            "training.feed": str(DATA / "moody_feed.py"),
            "training.addons": "[]",
            "feed.moody_feed.pause": pause,
            "save.interval": 4,
            "loss.loss_function": "mae",
            "loss.loss_function_2": "none",
            "trainer.ddp.timeout": 8,
        } | {name.replace("__", "."): value for name, value in options.items()}
        settings = [f"--set={name}={value}" for name, value in given.items()]
        command = ["run", "-m", str(self.model), "-t", str(DATA / "plain_net.py"), "--seed", "3"]
        faces = ["-A", str(folder / "a"), "-B", str(folder / "b"), "-b", "8"]
        self.said = {name: folder / f"{name}.txt" for name in ("out", "err")}
        with self.said["out"].open("w") as out, self.said["err"].open("w") as err:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "fs_kernel", *command, *faces, *settings),
                    *("--trainer", "ddp", "--devices", str(devices), *arguments),
                ],
                env={**os.environ, "OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch"},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def events(self, *kinds):
        path = self.model / "logs/events.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [event for line in lines if (event := json.loads(line))["event"] in kinds]

    def wait_for(self, kind, count=1, step=0, seconds=100):
        """Until ``count`` such events have been written, the last at ``step`` or later."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.events(kind)
            if len(found) >= count and found[-1]["step"] >= step:
                return
            assert self.process.poll() is None, self.heard()
            time.sleep(0.05)
        raise AssertionError(f"no {kind} within {seconds} s: {self.heard()}")

    def workers(self):
        """Processes that train, but for the one that holds the lock: it is process 0."""
        listed = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [line.split(None, 1) for line in listed.stdout.splitlines()]
        return sorted(int(pid) for pid, command in rows if "spawn_main" in command)

    def other(self):
        """A process that is not process 0."""
        first = json.loads((self.model / ".lock").read_text())["pid"]
        return next(pid for pid in self.workers() if pid != first)

    def end(self, seconds=90):
        """Exit code, and what was said on stderr."""
        return self.process.wait(timeout=seconds), self.heard()

    def heard(self, name="err"):
        """What was said so far on one of its streams."""
        return self.said[name].read_text()


def signal_one(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def weights(session):
    generation = json.loads((session.model / "checkpoint.json").read_text())["generation"]
    return load_file(session.model / "checkpoints" / generation / "weights.safetensors")


def test_a_killed_and_a_hung_process_change_nothing(tmp_path):
    """Each time all start again from the last checkpoint; the weights are those of a quiet run."""
    target = ("-i", "60")
    with (
        Session(tmp_path / "quiet", *target) as quiet,
        Session(tmp_path / "troubled", *target, pause=0.1) as troubled,
    ):
        troubled.wait_for("saved", 2)
        os.kill(troubled.other(), signal.SIGKILL)
        troubled.wait_for("started", 2)
        troubled.wait_for("metrics", step=30)
        hung = troubled.other()
        os.kill(hung, signal.SIGSTOP)
        troubled.wait_for("finished", 2)  # Process 0 gives up, and the others with it.
        time.sleep(0.5)
        signal_one(hung, signal.SIGCONT)  # Or the launcher kills it after half a minute.
        code, said = troubled.end()
        assert code == 0, said
        assert quiet.end()[0] == 0
        one, other = weights(quiet), weights(troubled)
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
        warnings = [event["message"] for event in troubled.events("warning")]
        assert any("restart 1 of at most 3" in line for line in warnings)
        assert any("restart 2 of at most 3" in line for line in warnings)
        ends = [(e["reason"], e["step"]) for e in troubled.events("finished")]
        assert ends[-1] == ("target", 60)
        assert "another process is gone or hangs" in said


def test_a_signal_to_any_process_stops_all(tmp_path):
    """They finish the step, save and exit 0; so they do for one to the launcher."""
    for number, tell in enumerate((Session.other, lambda session: session.process.pid), 1):
        with Session(tmp_path, "-i", "100000", pause=0.05) as session:
            session.wait_for("started", number)
            session.wait_for("metrics", step=session.events("started")[-1]["step"] + 3)
            signal_one(tell(session), signal.SIGTERM)
            code, said = session.end()
            assert code == 0, said
            last = session.events("finished")[-1]
            assert last["reason"] == "stopped"
            saved = session.events("saved")[-1]
            assert saved["step"] == last["step"]
            assert len(session.events("started")) == number, "nothing was started again"


def test_what_a_user_can_mend_is_said_once_and_not_tried_again(tmp_path):
    with Session(tmp_path, "-i", "20", feed__moody_feed__breaks_at=6) as session:
        code, said = session.end()
        assert code == 3
        assert said.splitlines() == ["fs: process 1 of 2: face 1 of side A cannot be used"]
        assert len(session.events("started")) == 1
        assert session.events("saved")[-1]["step"] == 4


def test_a_dry_run_in_two_processes(tmp_path):
    with Session(tmp_path, "--dry-run", "--json", training__batch_size=7) as session:
        code, said = session.end()
        assert code == 0, said
        facts = json.loads(session.heard("out"))
        assert facts["run"]["batch_size"] == 8
        assert not session.model.exists()


def test_a_size_cannot_be_searched_for_in_two_processes(tmp_path):
    with Session(tmp_path, "-b", "auto") as session:
        code, said = session.end()
        assert code == 2
        assert said.splitlines() == [
            "fs: -b auto tries one device: find out with --dry-run -b auto in one process, then "
            "give -b that size times the number of processes"
        ]


def test_a_trainer_that_starts_no_processes(tmp_path):
    with Session(tmp_path, "--trainer", "standard") as session:
        code, said = session.end()
        assert code == 2
        assert said.startswith("fs: --devices 2: the trainer 'standard' starts no processes")
        assert len(said.splitlines()) == 1
