"""Define the options of the feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from fs_faces.constants import DRAWN_MASKS, STORED_MASKS
from fs_kernel import option
from fs_kernel.options import Size

if TYPE_CHECKING:
    from fs_feed_faces.cache import Cache

#: Values of face.mask_type.
MASK_TYPES = tuple(sorted((*DRAWN_MASKS, *STORED_MASKS, "none")))


@attrs.frozen
class FaceOptions:
    """Section ``[face]``: the part of a face that the network sees, and its mask."""

    centering: str = option(
        "face",
        "What the crop is centered on: the face, the whole head, or the flat face (legacy).",
        choices=("face", "head", "legacy"),
        fixed=True,
    )
    coverage: float = option(
        100.0,
        "How much of the centering's crop the network sees, in percent of its edge.",
        minimum=62.5,
        maximum=100.0,
        fixed=True,
    )
    vertical_offset: int = option(
        0,
        "Move the face down (positive) or up in the crop, in percent of the face's size.",
        minimum=-25,
        maximum=25,
        fixed=True,
    )
    mask_type: str = option(
        "extended",
        "The face mask. 'components' and 'extended' are drawn from landmarks (extended reaches "
        "above the brows); the others must be stored in the face files.",
        choices=MASK_TYPES,
        fixed=True,
    )
    mask_dilation: float = option(
        0.0,
        "Grow (positive) or shrink the face mask, in percent of its edge.",
        minimum=-5.0,
        maximum=5.0,
    )
    mask_blur_kernel: int = option(
        3,
        "Blur of a stored mask: kernel in pixels of the stored mask, 0 for none.",
        minimum=0,
        maximum=9,
    )
    mask_threshold: int = option(
        4,
        "Values of a stored mask nearer than this to black or white become so, in percent.",
        minimum=0,
        maximum=50,
    )
    on_missing_mask: str = option(
        "error",
        "What to do with faces that lack the chosen mask: stop, or skip those faces.",
        choices=("error", "skip"),
    )


@attrs.frozen
class AugmentationOptions:
    """Section ``[augmentation]``: how faces are augmented."""

    color: bool = option(True, "Vary lightness, color and local contrast.", live=True)
    flip: bool = option(True, "Mirror faces left to right by chance.", live=True)
    warp: bool = option(True, "Distort the network's input, so that it must restore it.", live=True)
    warp_to_landmarks: bool = option(
        False,
        "Let warp bring the landmarks of a face near those of a similar face of another side, "
        "instead of distorting at random. Needs faces with 68 landmarks.",
        live=True,
    )
    zoom_amount: int = option(
        5, "Largest zoom in or out, in percent of the picture.", minimum=0, maximum=25, live=True
    )
    rotation_range: int = option(
        10, "Largest rotation to either side, in degrees.", minimum=0, maximum=25, live=True
    )
    shift_range: int = option(
        5,
        "Largest shift along each axis, in percent of the picture.",
        minimum=0,
        maximum=25,
        live=True,
    )
    flip_chance: int = option(
        50, "Chance of mirroring, in percent.", minimum=0, maximum=75, live=True
    )
    color_lightness: int = option(
        30, "Largest change of lightness, in percent.", minimum=0, maximum=75, live=True
    )
    color_ab: int = option(
        8,
        "Largest change of the two color channels of Lab, in percent.",
        minimum=0,
        maximum=50,
        live=True,
    )
    color_clahe_chance: int = option(
        50,
        "Chance of evening out the local contrast, in percent.",
        minimum=0,
        maximum=75,
        live=True,
    )
    color_clahe_max_size: int = option(
        4,
        "Finest grid of the local contrast, in steps above the coarsest.",
        minimum=1,
        maximum=8,
        live=True,
    )


@attrs.frozen
class LoaderOptions:
    """Section ``[loader]``: how batches are prepared. Changes no result."""

    workers: int = option(
        4,
        "Threads that prepare faces; at most one per processor is started, "
        "0 prepares them in the training thread.",
        minimum=0,
        maximum=32,
        formerly=("num_processes",),
    )
    pre_fetch: int = option(2, "Batches prepared ahead of the training.", minimum=1, maximum=10)
    cache: int = option(
        1024,
        "Memory for cut-out faces in MiB where feed.faces.cache is off or cannot be used, so that "
        "each file is read once; 0 reads files each time.",
        minimum=0,
        maximum=1048576,
    )


@attrs.frozen
class CacheOptions:
    """Section ``[feed.faces]``: where cut-out faces are cached. Changes no result."""

    cache: bool = option(
        True, "Keep cut-out faces on disk, for all runs of the same faces and options."
    )
    cache_dir: str = option(
        "", "Folder to keep them in, on a local disk; empty is the user's own cache folder."
    )
    cache_size: Size = option(
        Size(20 * 10**9),
        "What the cache may take on disk: '20GB', or 0 for no bound. Faces that were not used for "
        "longest are dropped to fit.",
    )
    device: str = option(
        "auto",
        "Where batches are made. 'on': on the training's device, with all faces in its memory; "
        "'off': on the processor; 'auto': on a CUDA device, if the faces take no more than a "
        "quarter of its free memory.",
        choices=("auto", "on", "off"),
    )

    def open(self) -> Cache | None:
        """Return the cache, or None if it is off or the user has no home folder."""
        from pathlib import Path

        from fs_feed_faces.cache import Cache, default_folder

        if not self.cache:
            return None
        folder = Path(self.cache_dir).expanduser() if self.cache_dir else default_folder()
        return Cache(folder, self.cache_size.bytes) if folder else None
