"""Two machines that share a run, played by two network namespaces; one is lost and comes back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

DATA = Path(__file__).parents[1] / "data"
PORT = 29417


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def machines():
    """Names and addresses of two namespaces with a cable between them."""
    if shutil.which("ip") is None:
        pytest.skip("there is no 'ip' here")
    names = [f"fs{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", names[1], "netns",
           names[1])  # fmt: skip
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", name)
            ip("-n", name, "link", "set", name, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.decode().strip()}")
    yield [(name, f"10.77.0.{number}") for number, name in enumerate(names, 1)]
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False)


def start(machine, folder, steps, pause):
    """``torchrun`` of one process on a machine, whose storage is everybody's."""
    name, address = machine
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
        "trainer.ddp.timeout": 20,
    }
    launcher = [
        *("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "job"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"10.77.0.1:{PORT}"),
        *("--rdzv-conf", f"is_host={int(address.endswith('.1'))}"),
        *("--local-addr", address, "-m", "fs_kernel"),
    ]
    command = ["run", "-m", str(folder / "model"), "-t", str(DATA / "plain_net.py"), "--seed", "3"]
    faces = ["-A", str(folder / "a"), "-B", str(folder / "b"), "-b", "8", "-i", str(steps)]
    environment = {
        "OMP_NUM_THREADS": "1",
        "KERAS_BACKEND": "torch",
        "GLOO_SOCKET_IFNAME": name,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    with (folder / f"{name}.txt").open("a") as said:
        return subprocess.Popen(
            [
                *("ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run"),
                *(*launcher, *command, *faces, "--trainer", "ddp"),
                *(f"--set={option}={value}" for option, value in given.items()),
            ],
            env={**os.environ, **environment},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def kill_all(name):
    """Every process of a machine: the launcher's workers have sessions of their own."""
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, check=True)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def events(folder, kind):
    path = folder / "model/logs/events.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [event for line in lines if (event := json.loads(line))["event"] == kind]


def wait_for(folder, kind, count, seconds=150):
    end = time.monotonic() + seconds
    while len(events(folder, kind)) < count:
        said = "\n".join(path.read_text()[-1500:] for path in folder.glob("fs*.txt"))
        assert time.monotonic() < end, f"no {count} of {kind}: {said}"
        time.sleep(0.1)


def weights(folder):
    generation = json.loads((folder / "model/checkpoint.json").read_text())["generation"]
    return load_file(folder / "model/checkpoints" / generation / "weights.safetensors")


def test_a_machine_is_lost_and_comes_back(tmp_path, machines):
    import fs_kernel

    folder = tmp_path / "shared"
    running = {machine: start(machine, folder, 60, 0.1) for machine in machines}
    try:
        wait_for(folder, "saved", 2)
        lost = machines[1]
        kill_all(lost[0])
        wait_for(folder, "finished", 1)  # The other one notices.
        running[lost] = start(lost, folder, 60, 0.1)
        codes = [process.wait(timeout=120) for process in running.values()]
    finally:
        for name, _ in machines:
            kill_all(name)
    assert codes == [0, 0], [path.read_text()[-2000:] for path in folder.glob("fs*.txt")]
    assert len(events(folder, "started")) == 2
    assert events(folder, "finished")[-1]["reason"] == "target"
    alone = fs_kernel.open_run(
        tmp_path / "alone/model",
        str(DATA / "plain_net.py"),
        a=folder / "a",
        b=folder / "b",
        feed=str(DATA / "moody_feed.py"),
        addons=[],
        set={
            "training.device": "cpu",
            "training.seed": 3,
            "training.batch_size": 8,
            "training.iterations": 60,
            "loss.loss_function": "mae",
            "loss.loss_function_2": "none",
        },
    )
    with alone:
        alone.train()
    one, other = weights(tmp_path / "alone"), weights(folder)
    for name, weight in one.items():
        assert abs(weight - other[name]).max() < 1e-9 * abs(weight).max()
