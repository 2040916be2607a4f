"""Make batches on the training's device, which holds all faces as 8-bit pixels."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import torch
from fs_kernel.types import Batch, FeedSpec, Side

from fs_feed_faces import gpu_ops as ops
from fs_feed_faces.augmentation_params import (
    AugmentationParams,
    draw_numbers,
    inverse,
    most_tiles,
)
from fs_feed_faces.batch_layout import SideBatch, SideLayout, make_batch
from fs_feed_faces.crop_store import CachedCrops
from fs_feed_faces.rows import RowMaker

#: Bytes that are copied to the device at once.
_AT_ONCE = 2**27


@attrs.define(eq=False)
class _Job:
    """A batch whose kernels are queued; the device may still be working on it."""

    step: int
    made: dict[Side, SideBatch]


class GpuBatchMaker:
    """Makes batches on a device; the CPU only draws random numbers and queues kernels.

    Args:
        sides: how each side's faces become rows; their faces are in the cache.
        spec: what the run needs.
    """

    def __init__(self, sides: Mapping[Side, RowMaker], spec: FeedSpec) -> None:
        self._sides, self._spec = sides, spec
        self._device = torch.device(spec.device)
        self._faces: dict[Side, torch.Tensor] = {}

    def open(self) -> None:
        """Copy the faces to the device, once."""
        for side, rows in self._sides.items():
            if side not in self._faces:
                assert isinstance(rows.crops, CachedCrops)
                self._faces[side] = _faces_on(self._device, rows.crops.records)

    def submit(self, step: int, drawn: Mapping[Side, np.ndarray]) -> _Job:
        """Start a batch and return its job; see `fs_feed_faces.cpu_batches.CpuBatchMaker.submit`.

        Raises:
            FacesError: no face of a side can be used.
        """
        return _Job(step, {side: self._side(step, side, drawn[side]) for side in self._sides})

    def result(self, job: _Job) -> Batch:
        """Return the batch; its tensors may still be computed on the device."""
        return make_batch(job.step, {s: r.layout for s, r in self._sides.items()}, job.made)

    def close(self) -> None:
        """Do nothing: there is nothing to stop, and the faces stay for the next `open`."""

    @torch.no_grad()
    def _side(self, step: int, side: Side, drawn: np.ndarray) -> SideBatch:
        rows = self._sides[side]
        crops, layout = rows.crops, rows.layout
        assert isinstance(crops, CachedCrops)
        indices = np.array([rows.find(int(i), crops.check)[0] for i in drawn], np.int64)
        numbers = draw_numbers(self._spec.seed, step, side, self._spec.local_indices)
        params = AugmentationParams.make(numbers, rows.options, layout.working_size)
        chosen = self._faces[side][_to_device(indices, self._device)]
        most = most_tiles(rows.options, layout.working_size)
        made = _make_side(indices, chosen, params, layout, most)
        points = rows.target_landmarks(indices, params)
        landmarks = None if points is None else _to_device(points, self._device)
        return attrs.evolve(made, landmarks=landmarks)


def _make_side(
    indices: np.ndarray,
    records: torch.Tensor,
    params: AugmentationParams,
    layout: SideLayout,
    most: int,
) -> SideBatch:
    """Return the tensors of one side, without landmarks.

    Args:
        indices: ``(n,)``, of the faces.
        records: of the faces, ``(n, bytes)``.
        params: of their augmentation.
        layout: of the batch.
        most: see `device_ops.even_out`.
    """
    device, size = records.device, layout.working_size
    pictures = records[:, : 3 * size**2].reshape(-1, size, size, 3).permute(0, 3, 1, 2).float()
    planes = records[:, 3 * size**2 :]
    # Not -1: without masks there is nothing to derive the number of faces from.
    masks = planes.reshape(len(records), len(layout.masks), size, size).float()
    if params.changes is not None:
        changes = _to_device(params.changes.astype(np.float32), device)
        pictures = ops.vary_color(pictures, changes, _to_device(params.tiles, device), most)
    moved = torch.cat([pictures, masks], dim=1)
    if params.matrices is not None:
        back = _to_device(inverse(params.matrices).astype(np.float32), device)
        moved = ops.resample(moved, ops.sources(back, size))
    warped = moved[:, :3]
    if params.sources is not None and params.warps is not None:
        grids = np.concatenate([params.sources, params.warps.astype(np.float32) - 0.5], axis=-1)
        at = ops.spread(_to_device(grids, device), size)
        warped = ops.resample(pictures, at[..., :2]) * ops.inside(at[..., 2:], size)
    targets = {
        edge: _finished(ops.shrink(moved[:, :3], edge), layout.rgb) for edge in layout.face_sizes
    }
    named = dict(zip(layout.masks, moved[:, 3:].split(1, dim=1), strict=False))
    shown = {
        (name, edge): _finished(ops.shrink(named[name], edge), False)
        for name, edge in layout.mask_sizes
    }
    inputs = _finished(ops.shrink(warped, layout.input_size), layout.rgb)
    return SideBatch(indices, inputs, targets, shown, None)


def _finished(pictures: torch.Tensor, rgb: bool) -> torch.Tensor:
    """Return ``(n, c, h, h)`` 0..255 as ``(n, h, h, c)`` 0..1, in the network's color order."""
    pictures = pictures.flip(1) if rgb else pictures
    return (pictures / 255).permute(0, 2, 3, 1).contiguous()


def _to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _faces_on(device: torch.device, records: np.ndarray) -> torch.Tensor:
    """Return all faces on the device, copied in parts: main memory holds no second copy."""
    faces = torch.empty(records.shape, dtype=torch.uint8, device=device)
    rows = max(1, _AT_ONCE // records.shape[1])
    for start in range(0, len(records), rows):
        faces[start : start + rows] = torch.from_numpy(records[start : start + rows])
    return faces
