"""Folders of aligned faces as batches, and swapped faces as files: the ``faces`` feed.

The hooks below import what they need when they are called, so that naming the plugin costs
nothing. Data's way: `source` (what is in the folders) -> `crops` (one face as the network sees it)
-> `side` (cached, varied by `augment`, scaled) -> `loader` (batches, ahead of time).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fs_kernel.hookspecs import hookimpl

if TYPE_CHECKING:
    import numpy as np
    from fs_kernel.config import Config
    from fs_kernel.types import Face, FaceIterator, Feed, FeedSpec, Side


@hookimpl
def config_defaults() -> dict[str, type]:
    """Sections ``[face]``, ``[augmentation]`` and ``[loader]``."""
    from fs_feed_faces.options import AugmentationOptions, FaceOptions, LoaderOptions

    return {"face": FaceOptions, "augmentation": AugmentationOptions, "loader": LoaderOptions}


@hookimpl
def open_feed(folders: Mapping[Side, Path], spec: FeedSpec, config: Config) -> Feed:
    """Look through the folders and get ready; see `fs_kernel.hookspecs.FeedHooks.open_feed`."""
    from fs_kernel.errors import ConfigError

    from fs_feed_faces.loader import FacesFeed
    from fs_feed_faces.side import SideFeed, SidePlan
    from fs_feed_faces.source import FEWEST, open_faces

    face, loader = config["face"], config["loader"]
    learnt = any(output.kind == "mask" for output in spec.outputs)
    needs_mask = learnt or "face" in spec.masks
    if needs_mask and face.mask_type == "none":
        wish = "network.learn_mask" if learnt else "loss.penalized_mask_loss"
        raise ConfigError(
            f"{wish} needs a face mask, but face.mask_type is none; "
            f"choose a mask type, or set {wish}=false"
        )
    cache_bytes = loader.cache * 2**20 // len(spec.sides)
    sides = {}
    for side in spec.sides:
        faces = open_faces(Path(folders[side]), face, needs_mask, FEWEST)
        plan = SidePlan.make(side, spec, faces)
        sides[side] = SideFeed(plan, face, config["augmentation"], cache_bytes)
    return FacesFeed(sides, spec, face, loader)


@hookimpl
def read_faces(
    source: Path, shape: tuple[int, int, int], color_order: str, config: Config
) -> FaceIterator:
    """The faces of a folder; see `fs_feed_faces.swapping.read_faces`."""
    from fs_feed_faces import swapping

    return swapping.read_faces(Path(source), shape, color_order, config["face"])


@hookimpl
def write_face(
    face: Face,
    swapped: np.ndarray,
    mask: np.ndarray | None,
    color_order: str,
    target: Path,
    config: Config,
) -> Path:
    """Put one result back; see `fs_feed_faces.swapping.write_face`."""
    from fs_feed_faces import swapping

    return swapping.write_face(face, swapped, mask, color_order, Path(target), config["face"])
