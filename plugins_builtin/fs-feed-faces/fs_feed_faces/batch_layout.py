"""Derive what a batch holds of each side, and assemble the batch."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import torch
from fs_kernel.errors import ConfigError
from fs_kernel.types import Batch, BatchMeta, FeedSpec, Output, Side

from fs_feed_faces.source import FaceSet

_MASKS = ("face", "eye", "mouth")


@attrs.frozen(eq=False)
class SideLayout:
    """What a batch holds of one side.

    Attributes:
        side: name of the side.
        input_size: edge of the network's input in pixels.
        outputs: the side's outputs in the network's order.
        faces: the side's faces.
        masks: the masks that are cut along with each face, in this order.
        wanted: those of them that the trainer receives.
        rgb: whether the network wants RGB.
    """

    side: Side
    input_size: int
    outputs: tuple[Output, ...]
    faces: FaceSet
    masks: tuple[str, ...]
    wanted: tuple[str, ...]
    rgb: bool

    @classmethod
    def make(cls, side: Side, spec: FeedSpec, faces: FaceSet) -> SideLayout:
        """Return the layout of one side that ``spec`` asks for.

        Raises:
            ConfigError: the network does not take square color pictures.
        """
        height, width, channels = spec.input_shapes[side]
        if height != width or channels != 3:
            raise ConfigError(
                f"the faces feed gives square pictures of 3 channels; the network wants "
                f"{height} x {width} x {channels} for side {side}"
            )
        wanted = tuple(
            name for name in _MASKS if name in spec.masks and (name == "face" or not faces.plain)
        )
        outputs = tuple(output for output in spec.outputs if output.side == side)
        learned = any(output.kind == "mask" for output in outputs)
        masks = ("face", *wanted) if learned and "face" not in wanted else wanted
        return cls(side, height, outputs, faces, masks, wanted, spec.color_order == "rgb")

    @property
    def face_sizes(self) -> tuple[int, ...]:
        """Return the distinct edges of the face outputs, ascending."""
        return tuple(sorted({output.size for output in self.outputs if output.kind == "face"}))

    @property
    def mask_sizes(self) -> tuple[tuple[str, int], ...]:
        """Return each needed pair of mask name and size, sorted."""
        sizes = {(name, size) for name in self.wanted for size in self.face_sizes}
        sizes |= {("face", output.size) for output in self.outputs if output.kind == "mask"}
        return tuple(sorted(sizes))

    @property
    def working_size(self) -> int:
        """Return the edge at which faces are cut and augmented: the largest that is needed."""
        return max(self.input_size, *(output.size for output in self.outputs), 0)


@attrs.frozen(eq=False)
class SideBatch:
    """The tensors of one side of one batch.

    Attributes:
        indices: ``(n,)`` int64, of the faces, in main memory.
        inputs: ``(n, size, size, 3)`` float32.
        targets: by size ``(n, size, size, 3)`` float32.
        masks: by name and size ``(n, size, size, 1)`` float32.
        landmarks: ``(n, 68, 2)`` float32, see `fs_kernel.types.BatchMeta`; None for none.
    """

    indices: np.ndarray
    inputs: torch.Tensor
    targets: Mapping[int, torch.Tensor]
    masks: Mapping[tuple[str, int], torch.Tensor]
    landmarks: torch.Tensor | None


def make_batch(
    step: int, layouts: Mapping[Side, SideLayout], sides: Mapping[Side, SideBatch]
) -> Batch:
    """Return the batch of all sides, targets in the order of the network's outputs."""
    targets, masks = {}, {}
    for side, made in sides.items():
        layout = layouts[side]
        targets[side] = [
            made.targets[output.size]
            if output.kind == "face"
            else made.masks["face", output.size]
            if output.kind == "mask"
            else None
            for output in layout.outputs
        ]
        masks[side] = {
            name: {size: made.masks[name, size] for size in layout.face_sizes}
            for name in layout.wanted
        }
    inputs = {side: made.inputs for side, made in sides.items()}
    indices = {side: made.indices for side, made in sides.items()}
    points = {s: made.landmarks for s, made in sides.items() if made.landmarks is not None}
    return Batch(step, inputs, targets, BatchMeta(indices, masks, points))
