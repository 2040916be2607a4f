"""Open the feed: scan the folders, cut out the faces, and choose where batches are made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from fs_kernel.errors import ConfigError
from fs_kernel.options import Config
from fs_kernel.types import FeedSpec, Side

from fs_feed_faces.batch_layout import SideLayout
from fs_feed_faces.cache import Cache, CacheError
from fs_feed_faces.crop_store import CachedCrops, Crops, CutCrops, open_crops
from fs_feed_faces.crops import Cropper
from fs_feed_faces.feed import BatchMaker, FacesFeed
from fs_feed_faces.filesystem import network_kind
from fs_feed_faces.gpu_batches import GpuBatchMaker
from fs_feed_faces.landmarks import FOR_BATCHES, landmark_shares
from fs_feed_faces.options import CacheOptions
from fs_feed_faces.rows import RowMaker
from fs_feed_faces.source import FEWEST, open_faces

#: Share of a device's free memory that faces may take if feed.faces.device is "auto".
_SHARE = 0.25


def open_feed(folders: Mapping[Side, Path], spec: FeedSpec, config: Config) -> FacesFeed:
    """Scan the folders and return the feed; see `fs_kernel.hookspecs.FeedHooks.open_feed`."""
    face, loader, caching = config["face"], config["loader"], config["feed.faces"]
    learned = any(output.kind == "mask" for output in spec.outputs)
    needs_mask = learned or "face" in spec.masks
    if needs_mask and face.mask_type == "none":
        wish = "network.learn_mask" if learned else "loss.penalized_mask_loss"
        raise ConfigError(
            f"{wish} needs a face mask, but face.mask_type is none; "
            f"choose a mask type, or set {wish}=false"
        )
    cache = caching.open()
    croppers, layouts, points = {}, {}, {}
    for side in spec.sides:
        faces = open_faces(Path(folders[side]), face, needs_mask, FEWEST, cache)
        layouts[side] = SideLayout.make(side, spec, faces)
        croppers[side] = Cropper(face, layouts[side].working_size, layouts[side].masks)
        if "landmarks" in spec.fields:
            points[side] = landmark_shares(faces, croppers[side], FOR_BATCHES)
    crops, warnings = _open_crops(layouts, croppers, cache, loader.cache * 2**20)
    sides = {
        side: RowMaker(layouts[side], crops[side], config["augmentation"], points.get(side))
        for side in spec.sides
    }
    return FacesFeed(sides, spec, face, loader, _gpu_batches(sides, spec, caching), warnings)


def _open_crops(
    layouts: Mapping[Side, SideLayout],
    croppers: Mapping[Side, Cropper],
    cache: Cache | None,
    memory: int,
) -> tuple[dict[Side, Crops], tuple[str, ...]]:
    """Return the faces from the cache, or uncached if there is none or it fails, and warnings."""
    lines = []
    if cache is not None:
        kind = network_kind(cache.folder)
        if kind is not None:
            lines.append(
                f"the cache of faces {cache.folder} is on a network file system ({kind}), which "
                "is slow; name a folder on a local disk with feed.faces.cache_dir"
            )
        try:
            kept = {s: open_crops(layouts[s].faces, croppers[s], cache) for s in layouts}
            return dict(kept), tuple(lines)
        except CacheError as error:
            lines.append(f"faces are not cached on disk: {error}; they are cut as they are needed")
    share = memory // len(layouts)
    made = {s: CutCrops(layouts[s].faces.files, croppers[s], share) for s in layouts}
    return dict(made), tuple(lines)


def _gpu_batches(
    sides: Mapping[Side, RowMaker], spec: FeedSpec, caching: CacheOptions
) -> BatchMaker | None:
    """Return what makes batches on the run's device, or None if the CPU makes them.

    Raises:
        ConfigError: the device is demanded, but the faces are not in the cache.
    """
    if caching.device == "off":
        return None
    kept = {s: feed.crops for s, feed in sides.items() if isinstance(feed.crops, CachedCrops)}
    if len(kept) < len(sides):
        if caching.device == "on":
            raise ConfigError(
                "feed.faces.device=on needs the cache of faces, which is off or cannot be used; "
                "see feed.faces.cache and feed.faces.cache_dir"
            )
        return None
    size = sum(crops.records.nbytes for crops in kept.values())
    if caching.device == "auto" and size > _SHARE * _free_bytes(spec.device):
        return None
    return GpuBatchMaker(sides, spec)


def _free_bytes(device: str) -> int:
    """Return the free memory of a CUDA device in bytes, 0 for other devices."""
    place = torch.device(device)
    return torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else 0
