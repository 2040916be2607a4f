"""How fast the faces feed is on one core: images per second of processor time, as JSON.

At 64 px, and at 128 px in and 256 out: faces from the cache beside faces that are read, cut and
given masks anew each time, in turn, with the default augmentation and all three masks. Besides: how
fast the cache is made, and the same batches made in torch on the processor (what a device does).

    python tests/bench/feed.py [--faces 40] [--runs 7]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import cv2
import numpy as np
import torch
from fs_feed_faces import open_feed
from fs_feed_faces.options import AugmentationOptions, CacheOptions, FaceOptions, LoaderOptions
from fs_kernel.options import Config
from fs_kernel.types import Feed, FeedSpec, Output, Side
from fs_synthetic import draw_people

#: Edge of the input and of the output.
SIZES = ((64, 64), (128, 256))
#: Faces per side and batch.
BATCH = 16
#: Batches of one timing, by the way they are made.
_BATCHES = {"cached": 6, "anew": 1, "torch": 1}


@attrs.frozen
class _InTurn:
    """A sampler that goes through the faces one by one."""

    sizes: Mapping[Side, int]

    def draw(self, step: int) -> dict[Side, np.ndarray]:
        return {side: (np.arange(BATCH) + step * BATCH) % n for side, n in self.sizes.items()}

    def update(self, step: int, indices: Any, losses: Any) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None: ...


def _spec(size: int, target: int) -> FeedSpec:
    sides = ("a", "b")
    return FeedSpec(
        input_shapes=dict.fromkeys(sides, (size, size, 3)),
        color_order="bgr",
        outputs=tuple(Output(side, "face", target) for side in sides),
        fields=frozenset(("face", "eye", "mouth")),
        batch_size=BATCH,
        seed=1,
        local_indices=range(BATCH),
    )


def _open(folders: Mapping[Side, Path], spec: FeedSpec, disk: CacheOptions, memory: int) -> Feed:
    sections = {
        "face": FaceOptions(),
        "augmentation": AugmentationOptions(),
        "loader": LoaderOptions(workers=0, cache=memory),
        "feed.faces": disk,
    }
    return open_feed(folders, spec, Config(sections))


def measure(folders: Mapping[Side, Path], cache: Path, runs: int = 7) -> dict[str, Any]:
    """Figures of this process's core; OpenCV and torch are left with one thread.

    Args:
        folders: faces of the sides "a" and "b".
        cache: an empty folder for the cache.
        runs: timings of each, taken in turn.

    Returns:
        Per size ("64", "128/256"): "cached", "anew" and "torch" with median, min and max images
        per second, "speedup" of the cache, "build", the faces per second that it was made with,
        and "reopen", the seconds until a later run has its faces.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    figures = {}
    for size, target in SIZES:
        spec, keep = _spec(size, target), CacheOptions(cache_dir=str(cache))
        start = time.perf_counter()
        feeds = {"cached": _open(folders, spec, keep, 0)}
        built = time.perf_counter() - start
        start = time.perf_counter()
        feeds["torch"] = _open(folders, spec, attrs.evolve(keep, device="on"), 0)
        reopened = time.perf_counter() - start
        feeds["anew"] = _open(folders, spec, attrs.evolve(keep, cache=False), 0)
        for feed in feeds.values():
            feed.start(_InTurn(feed.sizes), 1)
            feed.next()
        speeds: dict[str, list[float]] = {name: [] for name in feeds}
        for _ in range(runs):
            for name, feed in feeds.items():
                # Of the processor, so that who else is busy matters little.
                start = time.process_time()
                for _ in range(_BATCHES[name]):
                    feed.next()
                images = _BATCHES[name] * BATCH * len(spec.sides)
                speeds[name].append(images / (time.process_time() - start))
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        figures["64" if size == target else f"{size}/{target}"] = {
            **{
                name: {"median": medians[name], "min": min(values), "max": max(values)}
                for name, values in speeds.items()
            },
            "speedup": medians["cached"] / medians["anew"],
            "build": sum(feeds["cached"].sizes.values()) / built,
            "reopen": reopened,
        }
        for feed in feeds.values():
            feed.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=40, help="per side")
    parser.add_argument("--size", type=int, default=512, help="of the face files, in pixels")
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_people(folder, given.faces, given.size, 1)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
        figures = measure({"a": folder / "A", "b": folder / "B"}, folder / "cache", given.runs)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
