"""Run a few faces through every swap direction, for what draws previews."""

from __future__ import annotations

from typing import Any

import numpy as np

from fs_kernel.errors import UsageError
from fs_kernel.types import Preview, PreviewFaces, Run

#: Faces run at once; bounds the memory a preview takes.
_BATCH = 16


def make_preview(run: Run, faces: PreviewFaces, step: int) -> Preview:
    """Swap the given faces in every direction that the network has.

    Returns:
        Copies on the CPU: observers may keep them while training continues.
    """
    sides = run.network.sides
    swaps: dict[Any, np.ndarray] = {}
    masks: dict[Any, np.ndarray] = {}
    for source in sides:
        for target in sides:
            try:
                swap = run.swapper(source, target)
            except UsageError:
                continue  # Sides of different sizes, and a model without build_inference.
            chunks = faces.inputs[source].split(_BATCH)
            results = [swap(chunk) for chunk in chunks]
            pictures = to_uint8(np.concatenate([face for face, _ in results]))
            reverse = run.network.color_order == "rgb"
            swaps[source, target] = pictures[..., ::-1] if reverse else pictures
            found = [mask for _, mask in results if mask is not None]
            if found:
                masks[source, target] = to_uint8(np.concatenate(found))
    return Preview(step, faces, swaps, masks)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Return 0..1 as 0..255, rounded."""
    return np.rint(values * 255.0).clip(0, 255).astype(np.uint8)
