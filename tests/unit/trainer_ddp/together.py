"""Starting the scenes in several processes, and looking at what they left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

SCENES = Path(__file__).with_name("scenes.py")


def play(folder, count, names, timeout=240):
    """Run scenes in ``count`` processes.

    Returns:
        By scene, what each rank saw.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "KERAS_BACKEND": "torch",
        "OMP_NUM_THREADS": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
    }
    started = [
        subprocess.Popen(
            [sys.executable, str(SCENES), str(folder), *names],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        said = [process.communicate(timeout=timeout)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * count, said
    return {name: [read(folder / name / f"rank{r}.json") for r in range(count)] for name in names}


def read(path):
    return json.loads(path.read_text())


def events(folder, *kinds):
    lines = (folder / "model/logs/events.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] in kinds]


def tensors(folder, name="weights"):
    """The tensors of the newest checkpoint."""
    generation = read(folder / "checkpoint.json")["generation"]
    return load_file(folder / "checkpoints" / generation / f"{name}.safetensors")


def distance(one, other):
    """The largest difference of two models' weights, relative to the weight's largest number."""
    one, other = tensors(one), tensors(other)
    assert list(one) == list(other)
    return max(float(np.abs(one[n] - other[n]).max() / np.abs(one[n]).max()) for n in one)


def same(one, other, name="weights"):
    one, other = tensors(one, name), tensors(other, name)
    assert list(one) == list(other)
    return all(one[n].tobytes() == other[n].tobytes() for n in one)
