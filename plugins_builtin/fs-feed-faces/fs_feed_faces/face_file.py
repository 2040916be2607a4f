"""Describe one usable picture of a folder."""

from __future__ import annotations

from pathlib import Path

import attrs
from fs_faces.geometry import Alignment
from fs_faces.header import StoredMask


@attrs.frozen(eq=False)
class FaceFile:
    """One usable picture of a folder.

    Attributes:
        path: of the file.
        height: of the picture in pixels.
        width: of the picture in pixels.
        alignment: of the face; None for a plain picture without a face header.
        mask_names: the face masks it has or that can be drawn; empty for a plain picture.
        mask: the chosen mask, if the file stores it.
        digest: hash of its content.
    """

    path: Path
    height: int
    width: int
    alignment: Alignment | None
    mask_names: frozenset[str]
    mask: StoredMask | None
    digest: bytes

    @property
    def plain(self) -> bool:
        """Return whether the picture has no face header."""
        return self.alignment is None

    @property
    def yaw(self) -> float:
        """Return the yaw in degrees (`Alignment.yaw`), NaN if it is not known."""
        if self.alignment is None or len(self.alignment.landmarks) <= 4:
            return float("nan")
        return self.alignment.yaw

    def has_mask(self, name: str) -> bool:
        """Return whether this face mask is available; all of a plain picture counts as face."""
        return self.plain or name in self.mask_names
