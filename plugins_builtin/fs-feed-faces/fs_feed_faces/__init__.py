"""Folders of aligned faces as batches, and swapped faces as files: the ``faces`` feed.

The hooks below import what they need when they are called, so that naming the plugin costs
nothing. Data's way: `source` (what is in the folders) -> `crops` (one face as the network sees it)
-> `crop_store` (all of them, kept in the `cache`) -> `host` or `device` (varied and scaled, a batch
at a time) -> `loader` (batches, ahead of time).
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
    """Sections ``[face]``, ``[augmentation]``, ``[loader]`` and ``[feed.faces]``."""
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
    """Look through the folders and get ready; see `fs_kernel.hookspecs.FeedHooks.open_feed`."""
    from fs_feed_faces import opening

    return opening.open_feed(folders, spec, config)


@hookimpl
def read_faces(
    source: Path, shape: tuple[int, int, int], color_order: str, config: Config
) -> FaceIterator:
    """The faces of a folder; see `fs_feed_faces.swapping.read_faces`."""
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
    """Put one result back; see `fs_feed_faces.swapping.write_face`."""
    from fs_feed_faces import swapping

    return swapping.write_face(face, swapped, mask, color_order, Path(target), config["face"])
