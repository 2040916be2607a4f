"""Measure swaps: faces per second through the network, and from files to files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fs_kernel import open_model

from fs_bench.handwritten import Original
from fs_bench.plan import Plan, available, title_of
from fs_bench.timing import Figure, in_turn, rates

#: Executors that cannot train.
_SWAP_ONLY = ("onnx",)


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield faces per second of the first network at batch 1 and 16, from arrays to arrays."""
    name, _ = plan.networks[0]
    title = title_of(name)
    plan.tell(f"swaps of {title}")
    with plan.every_variant(name, 1, "fp32") as runs:
        swappers: dict[str, Callable[[torch.Tensor], Any]] = {
            variant: run.swapper(*run.network.sides[:2]) for variant, run in runs.items()
        }
        shapes = [tuple(run.network.model.inputs[0].shape[1:]) for run in runs.values()]
        if name == "original":
            hand = Original().to(plan.device).eval()
            swappers["hand-written"] = partial(_by_hand, hand, plan.device)
        for batch in (1, 16):
            faces = torch.rand(batch, *shapes[0])
            calls = {variant: partial(swap, faces) for variant, swap in swappers.items()}
            found = in_turn(calls, 3 * plan.rounds if batch == 1 else plan.rounds)
            for variant, seconds in found.items():
                key = f"swap.{title}.b{batch}.{variant}"
                words = f"swap {title}, batch {batch}, {variant}"
                facts = {"network": title, "batch": batch, "executor": variant}
                yield Figure(key, words, "faces/s", rates(seconds, batch), facts)


def _by_hand(model: Original, device: torch.device, faces: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        made = model.swap(faces.to(device).permute(0, 3, 1, 2))
        found: np.ndarray = made.permute(0, 2, 3, 1).clamp(0, 1).cpu().numpy()
    return found


def from_files(plan: Plan, model: Path, faces: Path) -> Iterator[Figure]:
    """Yield faces per second of ``fs swap``, pictures read and written, with each executor.

    Args:
        plan: what to measure.
        model: a model folder of the first network.
        faces: a folder of faces.
    """
    plan.tell("swaps from files to files")
    count = len(list(faces.glob("*.png")))
    executors = [variant.executor for variant in plan.variants if variant.compile is None]
    others = [name for name in _SWAP_ONLY if name not in executors]
    executors += available("executors", others, plan.skip)
    calls = {}
    for name in executors:
        values = {"training.executor": name, "training.device": str(plan.device)}
        trained = open_model(model, plan.networks[0][0], set=values)
        calls[name] = partial(trained.swap_folder, faces, plan.folder / f"swapped_{name}")
    for name, seconds in in_turn(calls, min(plan.rounds, 3)).items():
        title = f"fs swap, files of {_edge(faces)} px, {name}"
        yield Figure(f"swap.files.{name}", title, "faces/s", rates(seconds, count))


def _edge(folder: Path) -> int:
    """Return the width of the first picture, from its header."""
    head = next(folder.glob("*.png")).read_bytes()[:24]
    return int.from_bytes(head[16:20], "big")
