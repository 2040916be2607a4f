"""Measure the start: ``fs --help``, and from the command to the end of the first step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fs_kernel.errors import FsError

from fs_bench.plan import Plan, title_of
from fs_bench.timing import Figure, in_turn

#: Number of packages installed beside the real ones.
_CROWD = 200


def measure(plan: Plan, people: dict[str, Path]) -> Iterator[Figure]:
    """Yield the seconds of commands, each in a process of its own."""
    plan.tell("start of the program")
    crowd = plan.folder / "crowd"
    _install_crowd(crowd)
    calls = {
        "help": lambda: _run("-m", "fs_kernel", "--help"),
        "help_crowded": lambda: _run("-m", "fs_kernel", "--help", path=crowd),
        "import_keras": lambda: _run("-c", "import keras"),
    }
    found = in_turn(calls, plan.rounds)
    yield Figure("start.help", "fs --help", "s", found["help"])
    title = f"fs --help, {_CROWD} more plugins installed"
    yield Figure("start.help_crowded", title, "s", found["help_crowded"])
    keras = Figure("start.import_keras", "import keras", "s", found["import_keras"])
    yield keras
    variant = plan.variants[-1] if plan.variants[-1].compile is None else plan.variants[0]
    batch = 4 if plan.quick else 16
    firsts, steps = [], []
    for number in range(2 if plan.quick else 4):
        folder = plan.folder / f"start_{number}"
        first, step = _first_step(plan, folder, people, batch, variant.executor)
        if number:
            firsts.append(first)
            steps.append(step)
    each = Figure("start.step", f"a later step of that command, batch {batch}", "s", steps)
    facts = {
        "batch": batch,
        "executor": variant.executor,
        "beyond_import_and_step": sorted(firsts)[len(firsts) // 2] - keras.median - each.median,
    }
    name = title_of(plan.networks[0][0])
    title = f"command to the end of the first step, {name} b{batch}, {variant.name}"
    yield Figure("start.first_step", title, "s", firsts, facts)
    yield each


def _first_step(
    plan: Plan, folder: Path, people: dict[str, Path], batch: int, executor: str
) -> tuple[float, float]:
    """Return the seconds from the command to its first loss, and those of its last step."""
    values = {
        "training.device": plan.device,
        "training.executor": executor,
        "training.seed": 1,
        "training.metrics_interval": 1,
        "save.optimizer": "never",
    }
    command = ["-m", "fs_kernel", "run", "-m", str(folder), "-i", "4"]
    command += ["-A", str(people["a"]), "-B", str(people["b"]), "-b", str(batch)]
    command += ["-t", plan.networks[0][0]]
    command += [f"--set={name}={value}" for name, value in values.items()]
    start = time.time()
    _run(*command)
    lines = (folder / "logs" / "events.jsonl").read_text().splitlines()
    metrics = [event for event in map(json.loads, lines) if event["event"] == "metrics"]
    return metrics[0]["time"] - start, metrics[-1]["step_seconds"]


def _install_crowd(folder: Path) -> None:
    """Write metadata of installed packages, each with a command that cannot be imported."""
    for number in range(_CROWD):
        package = folder / f"crowd_{number}-1.0.dist-info"
        package.mkdir(parents=True)
        metadata = (
            f"Metadata-Version: 2.1\nName: crowd-{number}\nVersion: 1.0\nSummary: one of many\n"
        )
        (package / "METADATA").write_text(metadata)
        entries = f"[fs_kernel.commands]\ncrowd{number} = crowd_{number}:command\n"
        (package / "entry_points.txt").write_text(entries + "[fs_kernel.api]\n1 = crowd\n")


def _run(*arguments: str, path: Path | None = None) -> None:
    """Run Python in a process of its own, with one more folder of packages.

    Raises:
        FsError: it failed.
    """
    command, environment = [sys.executable, *arguments], os.environ | {"KERAS_BACKEND": "torch"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise FsError((done.stderr.strip().splitlines() or ["it failed"])[-1])
