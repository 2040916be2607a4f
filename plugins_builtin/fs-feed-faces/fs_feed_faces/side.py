"""One side of a batch: how one of its faces becomes a row, on the processor."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import attrs
import cv2
import numpy as np
from fs_kernel.errors import FacesError

from fs_feed_faces import augment, landmark_warp
from fs_feed_faces.buffers import Buffers
from fs_feed_faces.crop_store import Crops
from fs_feed_faces.geometry import resize, transform
from fs_feed_faces.landmark_warp import Matches, landmark_shares
from fs_feed_faces.options import AugmentationOptions
from fs_feed_faces.pictures import UnreadableError
from fs_feed_faces.plan import SidePlan
from fs_feed_faces.variation import Variation, color_tables, inverse

#: Gives the generator of one row for one purpose.
RandomFor = Callable[[str], np.random.Generator]
Result = TypeVar("Result")


@attrs.frozen(eq=False)
class SideArrays:
    """The arrays of one side of one batch, filled row by row.

    Attributes:
        indices: ``(n,)`` int64, which faces.
        inputs: ``(n, size, size, 3)`` float32.
        targets: by size ``(n, size, size, 3)`` float32.
        masks: by name and size ``(n, size, size, 1)`` float32.
    """

    indices: np.ndarray
    inputs: np.ndarray
    targets: dict[int, np.ndarray]
    masks: dict[tuple[str, int], np.ndarray]

    @classmethod
    def make(cls, plan: SidePlan, indices: np.ndarray, buffers: Buffers) -> SideArrays:
        """Arrays for these faces, not yet filled."""

        def empty(size: int, channels: int) -> np.ndarray:
            return buffers.take(len(indices), size, size, channels)

        return cls(
            np.array(indices, np.int64),
            empty(plan.input_size, 3),
            {size: empty(size, 3) for size in plan.face_sizes},
            {key: empty(key[1], 1) for key in plan.mask_sizes},
        )


class SideFeed:
    """Turns the faces of one side into rows of a batch. Safe to use from several threads.

    Args:
        plan: what a batch holds.
        crops: the faces, cut out.
        augmentation: section ``[augmentation]``.

    Attributes:
        options: section ``[augmentation]``; may be replaced while nothing is being filled.
        matches: who looks alike, for ``options.warp_to_landmarks``.
    """

    def __init__(self, plan: SidePlan, crops: Crops, augmentation: AugmentationOptions) -> None:
        self.plan = plan
        self.crops = crops
        self.options = augmentation
        self.matches: Matches | None = None
        self._lock = Lock()
        self._broken: dict[int, str] = {}
        self._unsaid: list[str] = []

    def fill(
        self, arrays: SideArrays, row: int, variation: Variation, random_for: RandomFor
    ) -> None:
        """Make one row: look up, vary, scale.

        Args:
            arrays: where it goes; the index is replaced if that face cannot be read.
            row: which, in ``arrays`` and ``variation``.
            variation: what is done to the row's face.
            random_for: what a warp to landmarks draws from.

        Raises:
            FacesError: no face of the side can be read any more.
        """
        arrays.indices[row], crop = self.find(int(arrays.indices[row]), self.crops.read)
        if variation.changes is None:
            image = augment.widen(crop.picture)
        else:
            table = color_tables(variation.changes[row : row + 1])[0]
            image = augment.vary_color(crop.picture, table, int(variation.tiles[row]))
        moved, masks = image, crop.masks
        if variation.matrices is not None:
            moved = augment.move(image, variation.matrices[row])
            masks = augment.move_planes(masks, variation.matrices[row])
        for target in arrays.targets.values():
            self._put_picture(target[row], moved)
        for (name, _), target in arrays.masks.items():
            _put(target[row, ..., 0], masks[self.plan.masks.index(name)])
        if variation.sources is not None:
            moved = augment.resample(image, augment.spread(variation.sources[row], len(image)))
            augment.blacken(moved, variation.borders[row])
        elif self.options.warp:
            maps = self._to_landmarks(int(arrays.indices[row]), row, variation, random_for)
            moved = augment.resample(image, maps)
        self._put_picture(arrays.inputs[row], moved)

    def find(self, index: int, read: Callable[[int], Result]) -> tuple[int, Result]:
        """What ``read`` makes of a face; a broken face's place is taken by the next one by name.

        Args:
            index: of the face.
            read: given an index, reads that face, or raises `UnreadableError`.

        Returns:
            The index of the face that was read, and the result.

        Raises:
            FacesError: no face of the side can be read any more.
        """
        count = len(self.plan.faces.files)
        for at in (*range(index, count), *range(index)):
            try:
                return at, read(at)
            except UnreadableError as error:
                self._note_broken(at, str(error))
        raise FacesError(f"no face in {self.plan.faces.folder} can be read any more")

    def take_warnings(self) -> list[str]:
        """Lines on faces that became unreadable since the last call."""
        with self._lock:
            lines, self._unsaid = self._unsaid, []
        return lines

    def _note_broken(self, index: int, reason: str) -> None:
        with self._lock:
            if index not in self._broken:
                self._broken[index] = reason
                path = self.plan.faces.files[index].path
                self._unsaid.append(f"{path}: {reason}; another face takes its place")

    def landmarks(self) -> np.ndarray:
        """Of all faces; see `fs_feed_faces.landmark_warp.landmark_shares`."""
        return landmark_shares(self.plan.faces, self.crops.cropper)

    def _to_landmarks(
        self, index: int, row: int, variation: Variation, random_for: RandomFor
    ) -> np.ndarray:
        """Where the pixels of a face warped to landmarks come from, before its movement."""
        assert self.matches is not None
        size = self.plan.working_size
        source, target = self.matches.draw(index, size, random_for("landmarks"))
        if variation.matrices is None:
            return np.dstack(landmark_warp.maps(size, source, target))
        matrix = variation.matrices[row]
        points = (transform(source, matrix), transform(target, matrix))
        maps = np.dstack(landmark_warp.maps(size, *points))
        return cv2.transform(maps, inverse(matrix[None])[0])

    def _put_picture(self, target: np.ndarray, picture: np.ndarray) -> None:
        """Write a picture of four channels into its place, in the network's colour order."""
        _put(target, augment.narrow(resize(picture, len(target)), self.plan.rgb))


def _put(target: np.ndarray, picture: np.ndarray) -> None:
    """Write 8-bit pixels into their place as float32 0..1."""
    np.divide(resize(picture, len(target)), 255, out=target, dtype=np.float32)
