"""Opening the feed: folders looked through, faces cut out, and where batches will be made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from fs_kernel.errors import ConfigError
from fs_kernel.options import Config
from fs_kernel.types import FeedSpec, Side

from fs_feed_faces.cache import Cache, CacheError
from fs_feed_faces.crop_store import CachedCrops, Crops, CutCrops, open_crops
from fs_feed_faces.crops import Cropper
from fs_feed_faces.device import DeviceMaker
from fs_feed_faces.disk import network_kind
from fs_feed_faces.loader import FacesFeed, Maker
from fs_feed_faces.options import CacheOptions
from fs_feed_faces.plan import SidePlan
from fs_feed_faces.side import SideFeed
from fs_feed_faces.source import FEWEST, open_faces

#: Share of a device's free memory that faces may take if nobody asks for it.
_SHARE = 0.25


def open_feed(folders: Mapping[Side, Path], spec: FeedSpec, config: Config) -> FacesFeed:
    """Look through the folders and get ready; see `fs_kernel.hookspecs.FeedHooks.open_feed`."""
    face, loader, keeping = config["face"], config["loader"], config["feed.faces"]
    learnt = any(output.kind == "mask" for output in spec.outputs)
    needs_mask = learnt or "face" in spec.masks
    if needs_mask and face.mask_type == "none":
        wish = "network.learn_mask" if learnt else "loss.penalized_mask_loss"
        raise ConfigError(
            f"{wish} needs a face mask, but face.mask_type is none; "
            f"choose a mask type, or set {wish}=false"
        )
    cache = keeping.open()
    croppers, plans = {}, {}
    for side in spec.sides:
        faces = open_faces(Path(folders[side]), face, needs_mask, FEWEST, cache)
        plans[side] = SidePlan.make(side, spec, faces)
        croppers[side] = Cropper(face, plans[side].working_size, plans[side].masks)
    crops, warnings = _cut_out(plans, croppers, cache, loader.cache * 2**20)
    sides = {
        side: SideFeed(plans[side], crops[side], config["augmentation"]) for side in spec.sides
    }
    return FacesFeed(sides, spec, face, loader, _on_device(sides, spec, keeping), warnings)


def _cut_out(
    plans: Mapping[Side, SidePlan],
    croppers: Mapping[Side, Cropper],
    cache: Cache | None,
    memory: int,
) -> tuple[dict[Side, Crops], tuple[str, ...]]:
    """The faces from the cache; without one, or if it fails, cut when they are needed."""
    lines = []
    if cache is not None:
        kind = network_kind(cache.folder)
        if kind is not None:
            lines.append(
                f"the cache of faces {cache.folder} is on a network file system ({kind}), which "
                "is slow; name a folder on a local disk with feed.faces.cache_dir"
            )
        try:
            kept = {s: open_crops(plans[s].faces, croppers[s], cache) for s in plans}
            return dict(kept), tuple(lines)
        except CacheError as error:
            lines.append(f"faces are not cached on disk: {error}; they are cut as they are needed")
    made = {s: CutCrops(plans[s].faces.files, croppers[s], memory // len(plans)) for s in plans}
    return dict(made), tuple(lines)


def _on_device(
    sides: Mapping[Side, SideFeed], spec: FeedSpec, keeping: CacheOptions
) -> Maker | None:
    """What makes batches on the run's device; None if they are made on the processor.

    Raises:
        ConfigError: it is asked for, but the faces are not in the cache.
    """
    if keeping.device == "off":
        return None
    kept = {s: feed.crops for s, feed in sides.items() if isinstance(feed.crops, CachedCrops)}
    if len(kept) < len(sides):
        if keeping.device == "on":
            raise ConfigError(
                "feed.faces.device=on needs the cache of faces, which is off or cannot be used; "
                "see feed.faces.cache and feed.faces.cache_dir"
            )
        return None
    size = sum(crops.records.nbytes for crops in kept.values())
    if keeping.device == "auto" and size > _SHARE * _free_bytes(spec.device):
        return None
    return DeviceMaker(sides, spec)


def _free_bytes(device: str) -> int:
    """Free memory of a device that is worth holding faces; 0 for all but CUDA devices."""
    place = torch.device(device)
    return torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else 0
