"""A face as the network sees it: cut from its picture, with its masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fs_feed_faces import masks
from fs_feed_faces.faces import FaceFile
from fs_feed_faces.geometry import Box, crop_box, cut, landmarks_in_crop, resize
from fs_feed_faces.options import DRAWN_MASKS, FaceOptions
from fs_feed_faces.pictures import UnreadableError, decode, read_bytes
from fs_feed_faces.png_header import HeaderError


class Cropper:
    """Reads faces as pictures of one size with the same masks.

    Args:
        options: what part of the face, and how its mask is treated.
        size: edge of the result in pixels.
        names: masks that follow the picture, out of "face", "eye", "mouth".
        coverage: percent of the centring's crop, the option's value unless given.
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
        """Bytes of one face with its masks."""
        return self.size**2 * (3 + len(self.names))

    def shape(self) -> dict[str, Any]:
        """All that decides how a face comes out, as JSON can hold it."""
        names = ("centering", "vertical_offset")
        if "face" in self.names:
            names += ("mask_type", "mask_dilation")
            if self.options.mask_type not in DRAWN_MASKS:
                names += ("mask_blur_kernel", "mask_threshold")
        known = {name: getattr(self.options, name) for name in names}
        masks = list(self.names)
        return {"size": self.size, "coverage": self.coverage, "masks": masks, **known}

    def read(self, face: FaceFile) -> np.ndarray:
        """The picture in BGR with the masks as further channels, ``(size, size, 3 + n)`` uint8.

        Raises:
            UnreadableError: the file is gone, damaged, or another than at the start.
        """
        crop = resize(cut(self.picture(face), self.box(face)), self.size)
        return np.dstack([crop, *(self.mask(face, name) for name in self.names)])

    def picture(self, face: FaceFile) -> np.ndarray:
        """The whole stored picture, ``(h, w, 3)`` uint8 BGR.

        Raises:
            UnreadableError: the file is gone, damaged, or another than at the start.
        """
        picture = decode(read_bytes(face.path))
        if picture.shape[:2] != (face.height, face.width):
            raise UnreadableError("it was changed while it was in use")
        return picture

    def box(self, face: FaceFile) -> Box:
        """Where the crop lies in the stored picture; a plain picture's crop is its centre square.

        Coverage applies to both; a plain picture has no vertical offset.
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
        """One mask ``(size, size)`` uint8.

        All of a plain picture is face. Where there are no landmarks there are no eyes and no mouth.

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
            mask = masks.stored(face.mask, face.alignment.offsets, self.options, self.coverage)
        except HeaderError as error:
            raise UnreadableError(str(error)) from None
        return resize(mask, self.size)
