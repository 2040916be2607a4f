"""The table of networks in ``docs/models.md``: sizes, seconds per step and memory on this machine.

Each network is trained at its defaults, in a process of its own, by the engine with the standard
trainer and executor, on pictures made in memory::

    python tests/bench/models_table.py                  # all of them
    python tests/bench/models_table.py dfaker iae       # some

CPU seconds are those of all threads together; on a machine that others use too they say more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"
# Threads that wait for each other shall not count as busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "original",
    "lightweight",
    "dfaker",
    "dfl_h128",
    "dfl_sae",
    "dlight",
    "iae",
    "realface",
    "unbalanced",
    "villain",
    "phaze_a",
)
HEAD = (
    ("network", "---"),
    ("weights", "--:"),
    ("of the model it follows", "--:"),
    ("in", "--:"),
    ("out", "--:"),
    ("s per step", "--:"),
    ("CPU s per step", "--:"),
    ("peak memory", "--:"),
    ("`network.py`", "--:"),
    ("all lines", "--:"),
    ("options of its own", "---"),
)


def measure(name: str, batch_size: int, steps: int) -> dict[str, Any]:
    """Train a network for ``steps`` after one that is not counted, in this process."""
    import resource

    import attrs
    import fs_kernel
    from fs_kernel import networks
    from fs_kernel.testing import ArrayFeed

    with tempfile.TemporaryDirectory() as folder:
        run = fs_kernel.open_run(
            Path(folder) / "model",
            name,
            a=folder,
            b=folder,
            feed=ArrayFeed(),
            addons=[],
            set={"training.batch_size": batch_size, "training.seed": 1, "training.device": "cpu"},
        )
        run.advance()
        seconds, busy = [], []
        for _ in range(steps):
            start = time.perf_counter(), time.process_time()
            run.advance()
            seconds.append(time.perf_counter() - start[0])
            busy.append(time.process_time() - start[1])
        built, own = run.session.network, run.config.get(f"model.{name}")
        run.close(save=False)
    inputs = sorted({tensor.shape[1] for tensor in built.model.inputs})
    return {
        "weights": networks.count(built),
        "in": inputs,
        "out": sorted({output.size for output in built.outputs}),
        "options": list(attrs.asdict(own)) if own else [],
        "seconds": statistics.median(seconds),
        "cpu": statistics.median(busy),
        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def measured_alone(name: str, batch_size: int, steps: int) -> dict[str, Any]:
    """`measure` in a process of its own, so that memory counts for this network only."""
    command = [sys.executable, __file__, name, "--alone", "-b", str(batch_size), "-n", str(steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, figures: dict[str, Any]) -> list[str]:
    package = ROOT / "plugins_builtin" / f"fs-model-{name.replace('_', '-')}" / f"fs_model_{name}"
    lines = {p.name: len(p.read_text().splitlines()) for p in sorted(package.rglob("*.py"))}
    facts = json.loads((ROOT / "tests" / "data" / "model_facts" / f"{name}.json").read_text())
    options = figures["options"]
    listed = ", ".join(f"`{option}`" for option in options)
    return [
        f"`{name}`",
        f"{figures['weights']:,}",
        f"{next(iter(facts.values()))['total']:,}",
        "/".join(map(str, figures["in"])),
        "/".join(map(str, figures["out"])),
        f"{figures['seconds']:.1f}",
        f"{figures['cpu']:.1f}",
        f"{figures['bytes'] / 1e9:.1f} GB",
        str(lines["network.py"]),
        str(sum(lines.values())),
        listed if len(options) < 10 else f"{len(options)}, see its README",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; all if none")
    parser.add_argument("-b", "--batch-size", type=int, default=4)
    parser.add_argument("-n", "--steps", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measure(given.names[0], given.batch_size, given.steps)))
        return
    print("| " + " | ".join(title for title, _ in HEAD) + " |")
    print("|" + "|".join(rule for _, rule in HEAD) + "|")
    for name in given.names or NAMES:
        figures = measured_alone(name, given.batch_size, given.steps)
        print("| " + " | ".join(row(name, figures)) + " |", flush=True)


if __name__ == "__main__":
    main()
