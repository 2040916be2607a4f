"""The built-in parts, ended from outside in a process of their own, go on to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from small_runs import OPTIONS, SMALL, losses, open_small, weights

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
TARGET = 12


@pytest.fixture(scope="module")
def straight(tmp_path_factory, people):
    """A run that nothing happened to: its losses and weights."""
    model = tmp_path_factory.mktemp("straight") / "m"
    return losses(open_small(model, people, **{"training.iterations": TARGET})), weights(model)


def start(model, people, workers):
    options = OPTIONS | {"training.iterations": TARGET, "training.addons": "[]"}
    options |= {"save.interval": 2, "loader.workers": workers}
    words = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "fs_kernel", "run", "-m", model, "-t", SMALL),
            *("-A", people / "A", "-B", people / "B", *words),
        ],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("workers", [0, 2, 4])
def test_a_run_ended_by_a_signal_goes_on_to_the_bit(tmp_path, people, straight, kind, workers):
    model = tmp_path / "m"
    child = start(model, people, workers)
    try:
        while not (model / "checkpoint.json").exists():
            assert child.poll() is None, "it ended by itself"
            time.sleep(0.005)
        child.send_signal(kind)
        code = child.wait(60)
    finally:
        child.kill()
        child.wait()
    assert code == (0 if kind == signal.SIGTERM else -kind)
    name = json.loads((model / "checkpoint.json").read_text())["generation"]
    at = int(name[:9])
    assert 2 <= at < TARGET, "the signal came too late to prove anything"
    options = {"training.iterations": TARGET, "loader.workers": 4 - workers}
    went_on = losses(open_small(model, people, **options))
    assert went_on == straight[0][at:]
    made = weights(model)
    assert made.keys() == straight[1].keys()
    assert all(np.array_equal(made[name], straight[1][name]) for name in made)
