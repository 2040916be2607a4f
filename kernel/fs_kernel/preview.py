"""Running a few faces through every direction, for those who draw previews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fs_kernel.types import Preview, PreviewFaces

if TYPE_CHECKING:
    from fs_kernel.training.loop import TrainingRun

#: Faces run at once; bounds the memory a preview takes.
_BATCH = 16


def make_preview(run: TrainingRun, faces: PreviewFaces, step: int) -> Preview:
    """Swap the given faces in every direction the shapes allow.

    Returns:
        Copies on the CPU: observers may keep them while training goes on.
    """
    sides = run.network.sides
    shapes = {side: tuple(faces.inputs[side].shape[1:]) for side in sides}
    swaps: dict[Any, np.ndarray] = {}
    masks: dict[Any, np.ndarray] = {}
    for source in sides:
        for target in sides:
            if shapes[source] != shapes[target]:
                continue
            swap, chunks = run.swapper(source, target), faces.inputs[source].split(_BATCH)
            results = [swap(chunk) for chunk in chunks]
            pictures = to_uint8(np.concatenate([face for face, _ in results]))
            reverse = run.network.color_order == "rgb"
            swaps[source, target] = pictures[..., ::-1] if reverse else pictures
            found = [mask for _, mask in results if mask is not None]
            if found:
                masks[source, target] = to_uint8(np.concatenate(found))
    return Preview(step, faces, swaps, masks)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """0..1 to 0..255, rounded."""
    return np.rint(values * 255.0).clip(0, 255).astype(np.uint8)
