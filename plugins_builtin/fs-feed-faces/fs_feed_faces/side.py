"""One side of a batch: its faces, what a batch holds of them, and how one face gets there."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import attrs
import cv2
import numpy as np
from fs_kernel.errors import ConfigError, FacesError
from fs_kernel.types import FeedSpec, Output, Side

from fs_feed_faces import augment, landmark_warp
from fs_feed_faces.crops import Cropper
from fs_feed_faces.geometry import resize, transform
from fs_feed_faces.landmark_warp import Matches, landmark_shares
from fs_feed_faces.options import AugmentationOptions, FaceOptions
from fs_feed_faces.pictures import UnreadableError
from fs_feed_faces.source import FaceSet

#: Gives the generator for one purpose of one place of one step.
RandomFor = Callable[[str], np.random.Generator]
Result = TypeVar("Result")
_MASKS = ("face", "eye", "mouth")


@attrs.frozen(eq=False)
class SidePlan:
    """What a batch holds of one side.

    Attributes:
        side: its name.
        input_size: edge of the network's input in pixels.
        outputs: the side's outputs in the network's order.
        faces: the side's faces.
        masks: the masks that are cut along with each face, in this order.
        wanted: those of them that the trainer gets.
        rgb: whether the network wants RGB.
    """

    side: Side
    input_size: int
    outputs: tuple[Output, ...]
    faces: FaceSet
    masks: tuple[str, ...]
    wanted: tuple[str, ...]
    rgb: bool

    @classmethod
    def make(cls, side: Side, spec: FeedSpec, faces: FaceSet) -> SidePlan:
        """What ``spec`` asks of one side.

        Raises:
            ConfigError: the network takes no square colour picture.
        """
        height, width, channels = spec.input_shapes[side]
        if height != width or channels != 3:
            raise ConfigError(
                f"the faces feed gives square pictures of 3 channels; the network wants "
                f"{height} x {width} x {channels} for side {side}"
            )
        wanted = tuple(
            name for name in _MASKS if name in spec.masks and (name == "face" or not faces.plain)
        )
        outputs = tuple(output for output in spec.outputs if output.side == side)
        learnt = any(output.kind == "mask" for output in outputs)
        masks = ("face", *wanted) if learnt and "face" not in wanted else wanted
        return cls(side, height, outputs, faces, masks, wanted, spec.color_order == "rgb")

    @property
    def face_sizes(self) -> tuple[int, ...]:
        """Edges of the face outputs, each once, rising."""
        return tuple(sorted({output.size for output in self.outputs if output.kind == "face"}))

    @property
    def mask_sizes(self) -> tuple[tuple[str, int], ...]:
        """Each mask that is needed at each size that is needed."""
        sizes = {(name, size) for name in self.wanted for size in self.face_sizes}
        sizes |= {("face", output.size) for output in self.outputs if output.kind == "mask"}
        return tuple(sorted(sizes))

    @property
    def working_size(self) -> int:
        """Edge at which faces are cut and varied: the largest that is needed."""
        return max(self.input_size, *(output.size for output in self.outputs), 0)


@attrs.frozen(eq=False)
class SideArrays:
    """The arrays of one side of one batch, filled row by row.

    Attributes:
        indices: ``(n,)`` int64, which faces; changed where a face had to be replaced.
        inputs: ``(n, h, h, 3)`` float32.
        targets: by size ``(n, size, size, 3)`` float32.
        masks: by name and size ``(n, size, size, 1)`` float32.
    """

    indices: np.ndarray
    inputs: np.ndarray
    targets: dict[int, np.ndarray]
    masks: dict[tuple[str, int], np.ndarray]

    @classmethod
    def make(cls, plan: SidePlan, indices: np.ndarray) -> SideArrays:
        """Arrays for these faces, not yet filled."""

        def empty(size: int, channels: int) -> np.ndarray:
            return np.empty((len(indices), size, size, channels), np.float32)

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
        face: section ``[face]``.
        augmentation: section ``[augmentation]``.
        cache_bytes: memory for cut-out faces.

    Attributes:
        options: section ``[augmentation]``; may be replaced while nothing is being filled.
        matches: who looks alike, for ``options.warp_to_landmarks``.
    """

    def __init__(
        self,
        plan: SidePlan,
        face: FaceOptions,
        augmentation: AugmentationOptions,
        cache_bytes: int,
    ) -> None:
        self.plan = plan
        self.options = augmentation
        self.matches: Matches | None = None
        self._cropper = Cropper(face, plan.working_size, plan.masks)
        self._cache: dict[int, np.ndarray] = {}
        self._room = cache_bytes // (plan.working_size**2 * (3 + len(plan.masks)))
        self._lock = Lock()
        self._broken: dict[int, str] = {}
        self._unsaid: list[str] = []

    def fill(self, arrays: SideArrays, row: int, random_for: RandomFor) -> None:
        """Make one row: read, vary, scale.

        Raises:
            FacesError: no face of the side can be read any more.
        """
        arrays.indices[row], stack = self.find(int(arrays.indices[row]), self._stack)
        image, masks, movement = self._vary(stack, random_for)
        maps = self._maps(int(arrays.indices[row]), movement, random_for)
        self._put(arrays.inputs[row], image if maps is None else augment.warp(image, maps))
        for target in arrays.targets.values():
            self._put(target[row], image)
        for (name, _), target in arrays.masks.items():
            position = self.plan.masks.index(name)
            self._put(target[row], masks[..., position : position + 1])

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

    def _stack(self, index: int) -> np.ndarray:
        """A face's picture and masks, ``(size, size, 3 + masks)`` uint8."""
        stack = self._cache.get(index)
        if stack is None:
            if index in self._broken:
                raise UnreadableError(self._broken[index])
            stack = self._cropper.read(self.plan.faces.files[index])
            with self._lock:
                if len(self._cache) < self._room:
                    self._cache[index] = stack
        return stack

    def _note_broken(self, index: int, reason: str) -> None:
        with self._lock:
            if index not in self._broken:
                self._broken[index] = reason
                path = self.plan.faces.files[index].path
                self._unsaid.append(f"{path}: {reason}; another face takes its place")

    def landmarks(self) -> np.ndarray:
        """Of all faces; see `fs_feed_faces.landmark_warp.landmark_shares`."""
        return landmark_shares(self.plan.faces, self._cropper)

    def _vary(
        self, stack: np.ndarray, random_for: RandomFor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The picture and its masks recoloured and moved, and the matrix of the movement."""
        image, masks = np.ascontiguousarray(stack[..., :3]), stack[..., 3:]
        if self.options.color:
            image = augment.vary_color(image, self.options, random_for("color"))
        matrix = augment.draw_movement(stack.shape[0], self.options, random_for("movement"))
        image = augment.move(image, matrix)
        if masks.shape[2]:
            masks = augment.move(np.ascontiguousarray(masks), matrix)
        if self.options.flip and augment.draw_flip(self.options, random_for("flip")):
            image, masks = cv2.flip(image, 1), masks[:, ::-1]
            matrix = augment.mirrored(matrix, stack.shape[0])
        return image, masks, matrix

    def _maps(
        self, index: int, movement: np.ndarray, random_for: RandomFor
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The warp of a face that was moved; None for none."""
        size = self.plan.working_size
        if not self.options.warp:
            return None
        if not self.options.warp_to_landmarks:
            return augment.draw_warp(size, random_for("warp"))
        assert self.matches is not None
        drawn = self.matches.draw(index, size, random_for("landmarks"))
        source, target = (transform(points, movement) for points in drawn)
        return landmark_warp.maps(size, source, target)

    def _put(self, target: np.ndarray, picture: np.ndarray) -> None:
        """Write a uint8 picture into its place as float32 0..1, in the network's colour order."""
        resized = resize(picture, target.shape[0])
        if self.plan.rgb and target.shape[2] == 3:
            resized = resized[..., ::-1]
        np.divide(resized, 255, out=target, dtype=np.float32)
