"""``make bench``: how long the main things take here, medians in one run, as a table and JSON.

Nothing of this is a test: machines differ and are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kernel"))

from fake_packages import Site

os.environ["KERAS_BACKEND"] = "torch"


def seconds_of(call, count: int) -> list[float]:
    """Durations of ``count`` calls after one that is not counted."""
    call()
    durations = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return durations


def both_in_turn(one, other, count: int) -> tuple[list[float], list[float]]:
    """Durations of two calls, taken in turn, so that a busy machine slows both alike."""
    one()
    other()
    durations: tuple[list[float], list[float]] = ([], [])
    for _ in range(count):
        for call, found in zip((one, other), durations, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return durations


def row(name: str, durations: list[float], per: float = 1.0, unit: str = "s") -> dict:
    values = [per / d if unit != "s" else d for d in durations]
    return {
        "name": name,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "unit": unit,
        "runs": len(values),
    }


def command_line(count: int) -> list[dict]:
    def typed(*arguments: str, env: dict[str, str] | None = None):
        command = [sys.executable, "-m", "fs_kernel", *arguments]
        return lambda: subprocess.run(command, check=True, capture_output=True, env=env)

    rows = []
    with tempfile.TemporaryDirectory() as name:
        Site(Path(name)).crowd(200, broken=20)
        crowded = os.environ | {"PYTHONPATH": name}
        for line in ("--help", "plugins list"):
            alone, among = both_in_turn(
                typed(*line.split()), typed(*line.split(), env=crowded), count
            )
            slower = [1000 * (b - a) for a, b in zip(alone, among, strict=True)]
            rows += [
                row(f"fs {line}", alone),
                row(f"fs {line}, 200 more plugins", among),
                {**row("  slower by", slower), "unit": "ms"},
            ]
    return rows


def training(folder: Path, batch: int, count: int) -> list[dict]:
    import fs_kernel

    run = fs_kernel.open_run(
        folder / "model",
        "original",
        a=folder / "A",
        b=folder / "B",
        addons=[],
        set={"model.original.lowmem": True, "training.batch_size": batch, "training.seed": 1},
    )
    with run:
        rows = [row(f"original lowmem, step at batch {batch}", seconds_of(run.advance, count))]
        feed = run.session.feed
        images = 2.0 * batch
        rows.append(row("feed, 64 px, 256 px files", seconds_of(feed.next, 20), images, "images/s"))
        rows.append(row("save with Adam state", seconds_of(run.save, 3)))
        faces = run.session.feed.preview(16).inputs["a"]
        swap = run.swapper("a", "b")
        rows.append(row("swap at batch 16", seconds_of(lambda: swap(faces), count), 16, "faces/s"))
        one = seconds_of(lambda: swap(faces[:1]), count)
        rows.append(row("swap at batch 1", one, 1, "faces/s"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-b", "--batch-size", type=int, default=4)
    parser.add_argument("-n", "--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    from fs_feed_faces.people import draw_people

    warnings.simplefilter("ignore")
    rows = command_line(given.runs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        draw_people(folder, 30, 256, 1)
        drawn = [(time.perf_counter() - start) / 120]
        rows.append(row("synthetic people", drawn, 1, "pictures/s"))
        rows += training(folder, given.batch_size, given.runs)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors")
    for item in rows:
        spread = f"{item['min']:.3g} .. {item['max']:.3g}"
        print(f"{item['name']:38} {item['median']:10.3f} {item['unit']:10} ({spread})")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
