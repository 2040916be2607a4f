"""Cut faces and their masks out of their pictures, as the network sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fs_faces import masks
from fs_faces.constants import DRAWN_MASKS
from fs_faces.geometry import Box, crop_box, cut, landmarks_in_crop, resize
from fs_faces.header import HeaderError, StoredMask
from fs_faces.pictures import UnreadableError, decode, read_bytes

from fs_feed_faces.face_file import FaceFile
from fs_feed_faces.options import FaceOptions


class Cropper:
    """Reads faces as pictures of one size with the same masks.

    Args:
        options: what part of the face, and how its mask is treated.
        size: edge of the result in pixels.
        names: masks that follow the picture, out of "face", "eye", "mouth".
        coverage: percent of the centering's crop; None uses the option.
    """

    def __init__(
        self,
        options: FaceOptions,
        size: int,
        names: Sequence[str],
        coverage: float | None = None,
    ) -> None:
        self.options = options
        self.size = size
        self.names = tuple(names)
        self.coverage = (options.coverage if coverage is None else coverage) / 100

    @property
    def record_bytes(self) -> int:
        """Return the bytes of one face with its masks."""
        return self.size**2 * (3 + len(self.names))

    def shape(self) -> dict[str, Any]:
        """Return all that determines the result for a face, in JSON types."""
        names: tuple[str, ...] = ("centering", "vertical_offset")
        if "face" in self.names:
            names += ("mask_type", "mask_dilation")
            if self.options.mask_type not in DRAWN_MASKS:
                names += ("mask_blur_kernel", "mask_threshold")
        known = {name: getattr(self.options, name) for name in names}
        masks = list(self.names)
        return {"size": self.size, "coverage": self.coverage, "masks": masks, **known}

    def read(self, face: FaceFile) -> np.ndarray:
        """Return the picture in BGR with the masks as further channels.

        Returns:
            ``(size, size, 3 + n)`` uint8.

        Raises:
            UnreadableError: the file is missing, damaged, or not the one that was scanned.
        """
        crop = resize(cut(self.picture(face), self.box(face)), self.size)
        return np.dstack([crop, *(self.mask(face, name) for name in self.names)])

    def picture(self, face: FaceFile) -> np.ndarray:
        """Return the whole stored picture, ``(h, w, 3)`` uint8 BGR.

        Raises:
            UnreadableError: the file is missing, damaged, or not the one that was scanned.
        """
        picture = decode(read_bytes(face.path))
        if picture.shape[:2] != (face.height, face.width):
            raise UnreadableError("it was changed while it was in use")
        return picture

    def box(self, face: FaceFile) -> Box:
        """Return where the crop lies in the stored picture.

        The crop of a plain picture is its center square, without vertical offset; coverage applies
        to it too.
        """
        if face.alignment is not None:
            return crop_box(
                face.alignment.offsets,
                face.height,
                "head",
                self.options.centering,
                self.coverage,
                self.options.vertical_offset / 100,
            )
        edge = min(face.height, face.width)
        size = edge if self.coverage == 1 else 2 * round(edge * self.coverage / 2)
        return Box((face.width - size) // 2, (face.height - size) // 2, size)

    def mask(self, face: FaceFile, name: str) -> np.ndarray:
        """Return one mask, ``(size, size)`` uint8.

        All of a plain picture is face. Without landmarks, the masks of eyes and mouth are empty.

        Raises:
            UnreadableError: the stored mask is damaged.
        """
        if face.alignment is None:
            return np.full((self.size, self.size), 255 if name == "face" else 0, np.uint8)
        if name == "face" and self.options.mask_type not in DRAWN_MASKS:
            return self._stored(face)
        landmarks = landmarks_in_crop(face.alignment, face.height, self.box(face), self.size)
        if name == "face":
            return masks.drawn(
                self.options.mask_type, landmarks, self.size, self.options.mask_dilation
            )
        if len(landmarks) == 4:
            return np.zeros((self.size, self.size), np.uint8)
        return (masks.eyes if name == "eye" else masks.mouth)(landmarks, self.size)

    def _stored(self, face: FaceFile) -> np.ndarray:
        assert face.alignment is not None
        assert face.mask is not None
        try:
            mask = stored_mask(face.mask, face.alignment.offsets, self.options, self.coverage)
        except HeaderError as error:
            raise UnreadableError(str(error)) from None
        return resize(mask, self.size)


def stored_mask(
    mask: StoredMask, offsets: Mapping[str, np.ndarray], options: FaceOptions, coverage: float
) -> np.ndarray:
    """Return a stored mask as section ``[face]`` wants it; see `fs_faces.masks.stored`.

    Args:
        mask: from the face header.
        offsets: of the face's alignment.
        options: section ``[face]``.
        coverage: share of the centering's full crop, 0.625..1.

    Raises:
        HeaderError: the mask's data is damaged.
    """
    return masks.stored(
        mask,
        offsets,
        options.centering,
        coverage,
        options.vertical_offset / 100,
        dilation=options.mask_dilation,
        threshold=options.mask_threshold,
        blur_kernel=options.mask_blur_kernel,
    )
