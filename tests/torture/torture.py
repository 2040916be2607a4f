"""Torture of the checkpoints, at length: ``make torture``.

Kills a real training run with SIGKILL at random moments, most of them inside a save, and looks at
what each left; cuts the power of a simulated disk at random changes of random saves. Goes on where
it was interrupted, and writes the report at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kernel"))

import attrs
from disk import Recorder
from fs_kernel.storage.checkpoints import Checkpoints
from generations import content
from kills import finish, kill_once

ROOT = Path(__file__).resolve().parents[2]
KILLS_A_FOLDER = 24


def kills(place: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Kill one run ``count`` times in a row; then let it end and compare it.

    Args:
        place: a new folder to work in; removed afterwards.
        count: how many kills.
        seed: of every decision.
    """
    place.mkdir(parents=True)
    chance = random.Random(seed)
    found = [attrs.asdict(kill_once(place, chance)) for _ in range(count)]
    if problem := finish(place, place / "straight"):
        found[-1]["problem"] = problem
    shutil.rmtree(place)
    return found


def power_cuts(place: Path, count: int, seed: int) -> list[str]:
    """Cut the power at ``count`` moments of one save.

    Returns:
        What is wrong, a line per cut that lost something.
    """
    place.mkdir(parents=True)
    chance = random.Random(seed)
    start, keep, first = place / "start", chance.choice([1, 2, 3]), chance.randrange(4)
    checkpoints = Checkpoints(start)
    start.mkdir()
    for step in range(1, first + 1):
        checkpoints.write(content(step), keep)
    recorder = Recorder(start, lambda: checkpoints.write(content(first + 1), keep))
    # From here on the new checkpoint counts: the flush of the replaced pointer.
    names = [(i, c.facts[1]) for i, c in enumerate(recorder.log) if c.what == "move"]
    place_of_pointer = next(i for i, name in names if name == "checkpoint.json")
    flushes = (
        i
        for i, c in enumerate(recorder.log)
        if i > place_of_pointer
        and c.what == "flush"
        and c.node == recorder.log[place_of_pointer].node
    )
    counts = 1 + next(flushes, len(recorder.log) - 1)
    problems = []
    for number in range(count):
        after, left = chance.randrange(len(recorder.log) + 1), place / f"cut_{number}"
        recorder.crash(after, chance, left)
        allowed = {first + 1} if after >= counts else {first, first + 1}
        if problem := _what_is_left(left, allowed, go_on=number % 5 == 0):
            problems.append(f"seed {seed}, cut {number} after change {after}: {problem}")
        shutil.rmtree(left)
    shutil.rmtree(place)
    return problems


def _what_is_left(folder: Path, allowed: set[int], go_on: bool) -> str | None:
    checkpoints = Checkpoints(folder)
    lines: list[str] = []
    try:
        if not checkpoints.checkpoints() and 0 in allowed:
            return None
        name = checkpoints.latest_valid(lines.append)
        step = checkpoints.read_state(name)["iterations"]
        weights, training = checkpoints.read_weights(name), checkpoints.read_training(name)
        expected = content(step)
        same = weights["a/kernel"].equal(expected.weights["a/kernel"])
        if not same or training["trainer"]["step"] != step or step not in allowed:
            return f"found step {step}, allowed {sorted(allowed)}; {lines}"
        return checkpoints.validation_error(
            checkpoints.write(content(step + 1), keep=2).name if go_on else name
        )
    except Exception as error:
        nothing = 0 in allowed and "no checkpoint is whole" in str(error)
        return None if nothing else f"{type(error).__name__}: {error}"


class Results:
    """One JSON line per finished batch, so that an interrupted torture goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.batches: dict[str, Any] = dict(json.loads(line) for line in lines)

    def once(self, name: str, work: Any) -> Any:
        if name not in self.batches:
            self.batches[name] = work()
            with self._path.open("a") as stream:
                stream.write(json.dumps([name, self.batches[name]]) + "\n")
        return self.batches[name]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=240)
    parser.add_argument("--cuts", type=int, default=20_000)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fs-torture")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "torture-report.md")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    results = Results(given.work / "results.jsonl")
    killed: list[dict[str, Any]] = []
    for number in range(-(-given.kills // KILLS_A_FOLDER)):
        size = min(KILLS_A_FOLDER, given.kills - number * KILLS_A_FOLDER)
        place = given.work / f"kills_{number}"
        shutil.rmtree(place, ignore_errors=True)
        killed += results.once(
            f"kills {number} {size}", lambda p=place, s=size, n=number: kills(p, s, n)
        )
        print(f"{len(killed)} kills, {sum(k['problem'] is not None for k in killed)} problems")
    problems: list[str] = []
    for number in range(-(-given.cuts // 500)):
        place = given.work / f"cuts_{number}"
        shutil.rmtree(place, ignore_errors=True)
        problems += results.once(f"cuts {number}", lambda p=place, n=number: power_cuts(p, 500, n))
    print(f"{-(-given.cuts // 500) * 500} power cuts, {len(problems)} problems")
    report(given.report, killed, -(-given.cuts // 500) * 500, problems)
    return int(bool(problems) or any(kill["problem"] for kill in killed))


def report(path: Path, killed: list[dict[str, Any]], cuts: int, problems: list[str]) -> None:
    """Write what was tried and what came of it."""
    lost = [kill for kill in killed if kill["problem"]]
    work = [kill["trained"] - kill["found"] for kill in killed]
    ways = Counter(kill["way"] for kill in killed)
    lines = [
        "# Torture report",
        "",
        "Written by `make torture` (`tests/torture/torture.py`).",
        "",
        f"- {time.strftime('%Y-%m-%d')}, {platform.system()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores",
        f"- kills of a training run with SIGKILL: **{len(killed)}**, each followed by verifying "
        "every checkpoint and by resuming",
        *(f"    - {way}: {count}" for way, count in sorted(ways.items())),
        f"- kills that left a half-written checkpoint behind: "
        f"{sum(kill['in_save'] for kill in killed)}",
        f"- checkpoints lost: **{len(lost)}**",
        f"- longest work lost: **{max(work)} steps** (a save every 1 to 3 steps, beside the "
        f"training); mean {sum(work) / len(work):.1f}",
        f"- killed runs ({KILLS_A_FOLDER} kills each) that ended in other weights, moments or "
        "random states than one that was never killed: "
        f"**{sum('differs' in (kill['problem'] or '') for kill in killed)}**",
        f"- power cuts of the simulated disk (`tests/torture/disk.py`): **{cuts}**, checkpoints "
        f"lost: **{len(problems)}**",
        *(f"    - {line}" for line in [*(kill["problem"] for kill in lost), *problems]),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
