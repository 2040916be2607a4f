"""How long training stands still for a save: a network of 80 million weights with Adam's moments.

Three things in one run, alternating: the pause of a save beside the training (into the buffer that
is allocated and touched before step 1), how long that save then takes, and a plain synchronous save
of the same content (fresh copies, the same files, flushed and read back) in the training thread.
Prints a table and, with ``--json``, the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

from fs_kernel import hookimpl
from fs_kernel.storage import Checkpoints, tree
from fs_kernel.testing import tiny_run


class Listener:
    """Collects what saves report."""

    name = "listener"

    def __init__(self) -> None:
        self.saved: list = []

    @hookimpl
    def create_addon(self, run) -> Listener:
        return self

    def observers(self) -> list:
        return [self]

    def on_checkpoint(self, saved) -> None:
        self.saved.append(saved)


def measure(folder: Path, saves: int, plain: int) -> dict:
    """Train ``original`` at batch 1 on made pictures and save again and again."""
    listener = Listener()
    values = {"training.batch_size": 1, "training.iterations": 10**6, "save.interval": 0}
    with tiny_run(folder, model="original", addons=[listener], set=values) as run:
        alone, beside, synchronous = [], [], []
        for _ in range(3):
            alone.append(step_seconds(run))
        for number in range(saves):
            run.request_save()
            run._decide()
            beside.append(step_seconds(run))
            checkpointer = run._saves.checkpointer
            while checkpointer.busy:
                if checkpointer._thread.is_alive():
                    beside.append(step_seconds(run))
                run._decide()
            alone.append(step_seconds(run))
            if number < plain:
                start = time.perf_counter()
                Checkpoints(folder / "plain").write(run.steps.capture(True, tree.cpu_copy), 2)
                synchronous.append(time.perf_counter() - start)
        size, parameters = listener.saved[0].bytes, run.info.parameters
        run.close(save=False)
    pauses = [saved.pause_seconds for saved in listener.saved]
    return {
        "parameters": parameters,
        "bytes": size,
        "saves": len(pauses),
        "pause_first": pauses[0],
        "pause_p50": statistics.median(pauses),
        "pause_p99": sorted(pauses)[min(len(pauses) - 1, round(0.99 * len(pauses)))],
        "total_p50": statistics.median(saved.seconds for saved in listener.saved),
        "synchronous_p50": statistics.median(synchronous),
        "synchronous_max": max(synchronous),
        "step_alone_p50": statistics.median(alone),
        "step_beside_p50": statistics.median(beside),
    }


def step_seconds(run) -> float:
    start = time.perf_counter()
    run.advance()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=20)
    parser.add_argument("--plain", type=int, default=5, help="synchronous saves among them")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.saves, given.plain)
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:16} {value:12,}" if isinstance(value, int) else f"{name:16} {value:12.3f} s")


if __name__ == "__main__":
    sys.exit(main())
