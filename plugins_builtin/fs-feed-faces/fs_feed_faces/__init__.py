"""Turn folders of aligned faces into batches, and swapped faces into files: the ``faces`` feed.

The hooks import what they need when they are called, so that importing the plugin is cheap. Data
flows through `source` (scan the folders), `crops` (cut out one face), `crop_store` (all faces, kept
in the `cache`), `cpu_batches` or `gpu_batches` (augment and scale a batch) and `feed` (batches,
prepared ahead of time).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fs_kernel.hookspecs import hookimpl

if TYPE_CHECKING:
    import numpy as np
    from fs_kernel.options import Config
    from fs_kernel.types import Face, FaceIterator, Feed, FeedSpec, Side


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the sections ``[face]``, ``[augmentation]``, ``[loader]`` and ``[feed.faces]``."""
    from fs_feed_faces.options import (
        AugmentationOptions,
        CacheOptions,
        FaceOptions,
        LoaderOptions,
    )

    return {
        "face": FaceOptions,
        "augmentation": AugmentationOptions,
        "loader": LoaderOptions,
        "feed.faces": CacheOptions,
    }


@hookimpl
def open_feed(folders: Mapping[Side, Path], spec: FeedSpec, config: Config) -> Feed:
    """Scan the folders and return the feed; see `fs_kernel.hookspecs.FeedHooks.open_feed`."""
    from fs_feed_faces import feed_factory

    return feed_factory.open_feed(folders, spec, config)


@hookimpl
def read_faces(
    source: Path, shape: tuple[int, int, int], color_order: str, config: Config
) -> FaceIterator:
    """Return the faces of a folder; see `fs_feed_faces.swapping.read_faces`."""
    from fs_feed_faces import swapping

    return swapping.read_faces(
        Path(source), shape, color_order, config["face"], config["feed.faces"].open()
    )


@hookimpl
def write_face(
    face: Face,
    swapped: np.ndarray,
    mask: np.ndarray | None,
    color_order: str,
    target: Path,
    config: Config,
) -> Path:
    """Write one swapped face; see `fs_feed_faces.swapping.write_face`."""
    from fs_feed_faces import swapping

    return swapping.write_face(face, swapped, mask, color_order, Path(target), config["face"])
