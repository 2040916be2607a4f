"""Make the rows of one side of a batch on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import attrs
import cv2
import numpy as np
from fs_faces.geometry import resize, transform
from fs_faces.pictures import UnreadableError
from fs_kernel.errors import FacesError

from fs_feed_faces import augment, landmark_warp
from fs_feed_faces.augmentation_params import AugmentationParams, color_tables, inverse
from fs_feed_faces.batch_layout import SideLayout
from fs_feed_faces.buffers import Buffers
from fs_feed_faces.crop_store import Crops
from fs_feed_faces.landmark_warp import Matches
from fs_feed_faces.landmarks import FOR_WARP, landmark_shares, move_shares
from fs_feed_faces.options import AugmentationOptions

#: Returns the random generator of one row for one purpose.
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
    def make(cls, layout: SideLayout, indices: np.ndarray, buffers: Buffers) -> SideArrays:
        """Return arrays for these faces, not yet filled."""

        def empty(size: int, channels: int) -> np.ndarray:
            return buffers.take(len(indices), size, size, channels)

        return cls(
            np.array(indices, np.int64),
            empty(layout.input_size, 3),
            {size: empty(size, 3) for size in layout.face_sizes},
            {key: empty(key[1], 1) for key in layout.mask_sizes},
        )


class RowMaker:
    """Turns the faces of one side into rows of a batch. Safe to use from several threads.

    Args:
        layout: what a batch holds.
        crops: the faces, cut out.
        augmentation: section ``[augmentation]``.
        points: the faces' landmarks, if batches hold them; see
            `fs_feed_faces.landmarks.landmark_shares`.

    Attributes:
        options: section ``[augmentation]``; may be replaced while nothing is being filled.
        matches: similar faces, for ``options.warp_to_landmarks``.
    """

    def __init__(
        self,
        layout: SideLayout,
        crops: Crops,
        augmentation: AugmentationOptions,
        points: np.ndarray | None = None,
    ) -> None:
        self.layout = layout
        self.crops = crops
        self.options = augmentation
        self.matches: Matches | None = None
        self._points = points
        self._lock = Lock()
        self._broken: dict[int, str] = {}
        self._new_warnings: list[str] = []

    def fill(
        self, arrays: SideArrays, row: int, params: AugmentationParams, random_for: RandomFor
    ) -> None:
        """Fill one row: read the face, augment it, scale it.

        Args:
            arrays: receive the row; its index is replaced if that face cannot be read.
            row: in ``arrays`` and ``params``.
            params: of the batch's augmentation.
            random_for: random generators of the row, for a warp to landmarks.

        Raises:
            FacesError: none of the side's faces can be read any longer.
        """
        arrays.indices[row], crop = self.find(int(arrays.indices[row]), self.crops.read)
        if params.changes is None:
            image = augment.widen(crop.picture)
        else:
            table = color_tables(params.changes[row : row + 1])[0]
            image = augment.vary_color(crop.picture, table, int(params.tiles[row]))
        moved = image
        masks = list(crop.masks)
        if params.matrices is not None:
            moved = augment.move(image, params.matrices[row])
            masks = augment.move_planes(masks, params.matrices[row])
        for target in arrays.targets.values():
            self._put_picture(target[row], moved)
        for (name, _), target in arrays.masks.items():
            _put(target[row, ..., 0], masks[self.layout.masks.index(name)])
        if params.sources is not None and params.borders is not None:
            moved = augment.resample(image, augment.spread(params.sources[row], len(image)))
            augment.blacken(moved, params.borders[row])
        elif self.options.warp:
            maps = self._to_landmarks(int(arrays.indices[row]), row, params, random_for)
            moved = augment.resample(image, maps)
        self._put_picture(arrays.inputs[row], moved)

    def find(self, index: int, read: Callable[[int], Result]) -> tuple[int, Result]:
        """Read a face; the next one by name takes the place of one that is unreadable.

        Args:
            index: of the face.
            read: called with an index; returns the face or raises `UnreadableError`.

        Returns:
            The index of the face that was read, and the result.

        Raises:
            FacesError: none of the side's faces can be read any longer.
        """
        count = len(self.layout.faces.files)
        for at in (*range(index, count), *range(index)):
            try:
                return at, read(at)
            except UnreadableError as error:
                self._note_broken(at, str(error))
        raise FacesError(f"no face in {self.layout.faces.folder} can be read any longer")

    def take_warnings(self) -> list[str]:
        """Return warnings on faces that became unreadable since the last call."""
        with self._lock:
            lines, self._new_warnings = self._new_warnings, []
        return lines

    def _note_broken(self, index: int, reason: str) -> None:
        with self._lock:
            if index not in self._broken:
                self._broken[index] = reason
                path = self.layout.faces.files[index].path
                self._new_warnings.append(f"{path}: {reason}; another face takes its place")

    def landmarks(self) -> np.ndarray:
        """Return those of all faces for a warp; see `fs_feed_faces.landmarks.landmark_shares`."""
        if self._points is not None:
            return self._points
        return landmark_shares(self.layout.faces, self.crops.cropper, FOR_WARP)

    def target_landmarks(
        self, indices: np.ndarray, params: AugmentationParams
    ) -> np.ndarray | None:
        """Return the landmarks of a batch's targets; None if batches hold none.

        Args:
            indices: ``(n,)``, of the faces that were used.
            params: of the batch's augmentation.

        Returns:
            ``(n, 68, 2)`` float32 in shares of the targets' edge.
        """
        if self._points is None:
            return None
        return move_shares(self._points[indices], params.matrices, self.layout.working_size)

    def _to_landmarks(
        self, index: int, row: int, params: AugmentationParams, random_for: RandomFor
    ) -> np.ndarray:
        """Return where the pixels of a face warped to landmarks come from, before its movement."""
        assert self.matches is not None
        size = self.layout.working_size
        source, target = self.matches.draw(index, size, random_for("landmarks"))
        if params.matrices is None:
            return np.dstack(landmark_warp.maps(size, source, target))
        matrix = params.matrices[row]
        points = (transform(source, matrix), transform(target, matrix))
        maps = np.dstack(landmark_warp.maps(size, *points))
        return cv2.transform(maps, inverse(matrix[None])[0])

    def _put_picture(self, target: np.ndarray, picture: np.ndarray) -> None:
        """Write a picture of four channels into its place, in the network's color order."""
        _put(target, augment.narrow(resize(picture, len(target)), self.layout.rgb))


def _put(target: np.ndarray, picture: np.ndarray) -> None:
    """Write 8-bit pixels into their place as float32 0..1."""
    np.divide(resize(picture, len(target)), 255, out=target, dtype=np.float32)
