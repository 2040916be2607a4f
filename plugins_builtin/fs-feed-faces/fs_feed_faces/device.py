"""Batches made on the training's device, where all faces lie as 8-bit pixels."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import torch
from fs_kernel.types import Batch, FeedSpec, Side

from fs_feed_faces import device_ops as ops
from fs_feed_faces.crop_store import CachedCrops
from fs_feed_faces.plan import SideBatch, SidePlan, batch_of
from fs_feed_faces.side import SideFeed
from fs_feed_faces.variation import Variation, draw, inverse, most_tiles

#: Bytes that are copied to the device at once.
_AT_ONCE = 2**27


@attrs.define(eq=False)
class _Job:
    """A batch whose making was begun: on the device it may not be done yet."""

    step: int
    made: dict[Side, SideBatch]


class DeviceMaker:
    """Makes batches on a device; the processor only draws numbers and says what to do.

    Args:
        sides: the sides, their faces in the cache.
        spec: what the run needs.
    """

    def __init__(self, sides: Mapping[Side, SideFeed], spec: FeedSpec) -> None:
        self._sides, self._spec = sides, spec
        self._device = torch.device(spec.device)
        self._faces: dict[Side, torch.Tensor] = {}

    def begin(self) -> None:
        """Bring the faces there, once."""
        for side, feed in self._sides.items():
            if side not in self._faces:
                assert isinstance(feed.crops, CachedCrops)
                self._faces[side] = _moved(feed.crops.records, self._device)

    def submit(self, step: int, drawn: Mapping[Side, np.ndarray]) -> _Job:
        """Begin with a batch; see `fs_feed_faces.host.HostMaker.submit`.

        Raises:
            FacesError: no face of a side can be used.
        """
        return _Job(step, {side: self._side(step, side, drawn[side]) for side in self._sides})

    def finish(self, job: _Job) -> Batch:
        """The batch."""
        return batch_of(job.step, {s: f.plan for s, f in self._sides.items()}, job.made)

    def close(self) -> None:
        """Nothing to stop; the faces stay for the next `begin`."""

    @torch.no_grad()
    def _side(self, step: int, side: Side, drawn: np.ndarray) -> SideBatch:
        feed = self._sides[side]
        crops, plan = feed.crops, feed.plan
        assert isinstance(crops, CachedCrops)
        indices = np.array([feed.find(int(i), crops.check)[0] for i in drawn], np.int64)
        numbers = draw(self._spec.seed, step, side, self._spec.slots)
        varied = Variation.make(numbers, feed.options, plan.working_size)
        chosen = self._faces[side][_sent(indices, self._device)]
        return _made(indices, chosen, varied, plan, most_tiles(feed.options, plan.working_size))


def _made(
    indices: np.ndarray, records: torch.Tensor, varied: Variation, plan: SidePlan, most: int
) -> SideBatch:
    """The tensors of one side.

    Args:
        indices: which faces these are.
        records: theirs, ``(n, bytes)``.
        varied: what is done to them.
        plan: what is needed.
        most: see `device_ops.even_out`.
    """
    device, size = records.device, plan.working_size
    pictures = records[:, : 3 * size**2].reshape(-1, size, size, 3).permute(0, 3, 1, 2).float()
    masks = records[:, 3 * size**2 :].reshape(-1, len(plan.masks), size, size).float()
    if varied.changes is not None:
        changes = _sent(varied.changes.astype(np.float32), device)
        pictures = ops.vary_color(pictures, changes, _sent(varied.tiles, device), most)
    moved = torch.cat([pictures, masks], dim=1)
    if varied.matrices is not None:
        back = _sent(inverse(varied.matrices).astype(np.float32), device)
        moved = ops.resample(moved, ops.sources(back, size))
    warped = moved[:, :3]
    if varied.sources is not None and varied.warps is not None:
        grids = np.concatenate([varied.sources, varied.warps.astype(np.float32) - 0.5], axis=-1)
        at = ops.spread(_sent(grids, device), size)
        warped = ops.resample(pictures, at[..., :2]) * ops.inside(at[..., 2:], size)
    targets = {
        edge: _finished(ops.shrink(moved[:, :3], edge), plan.rgb) for edge in plan.face_sizes
    }
    planes = dict(zip(plan.masks, moved[:, 3:].split(1, dim=1), strict=False))
    shown = {
        (name, edge): _finished(ops.shrink(planes[name], edge), False)
        for name, edge in plan.mask_sizes
    }
    inputs = _finished(ops.shrink(warped, plan.input_size), plan.rgb)
    return SideBatch(indices, inputs, targets, shown)


def _finished(pictures: torch.Tensor, rgb: bool) -> torch.Tensor:
    """``(n, c, h, h)`` 0..255 as ``(n, h, h, c)`` 0..1, in the network's colour order."""
    pictures = pictures.flip(1) if rgb else pictures
    return (pictures / 255).permute(0, 2, 3, 1).contiguous()


def _sent(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _moved(records: np.ndarray, device: torch.device) -> torch.Tensor:
    """All faces on the device, copied part by part so that main memory holds no second copy."""
    faces = torch.empty(records.shape, dtype=torch.uint8, device=device)
    rows = max(1, _AT_ONCE // records.shape[1])
    for start in range(0, len(records), rows):
        faces[start : start + rows] = torch.from_numpy(records[start : start + rows])
    return faces
