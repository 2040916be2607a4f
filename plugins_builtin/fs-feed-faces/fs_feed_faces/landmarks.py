"""Find the landmarks of faces in their crops, and where augmentation moves them."""

from __future__ import annotations

import numpy as np
from fs_faces.constants import MIRROR_68
from fs_faces.geometry import landmarks_in_crop
from fs_kernel.errors import FacesError

from fs_feed_faces.crops import Cropper
from fs_feed_faces.source import FaceSet

#: What needs landmarks, and what to do if there are none.
FOR_BATCHES = ("the run", "train without the loss, objective or trainer that asks for landmarks")
FOR_WARP = ("augmentation.warp_to_landmarks", "set augmentation.warp_to_landmarks=false")


def landmark_shares(faces: FaceSet, cropper: Cropper, purpose: tuple[str, str]) -> np.ndarray:
    """Return the landmarks of a side's faces, ``(n, 68, 2)`` float32 in shares of the crop's edge.

    Args:
        faces: of one side.
        cropper: says what the crops show.
        purpose: `FOR_BATCHES` or `FOR_WARP`.

    Raises:
        FacesError: some faces do not have 68 landmarks; it names them.
    """
    lacking = [
        file.path.name
        for file in faces.files
        if file.alignment is None or len(file.alignment.landmarks) != 68
    ]
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        who, remedy = purpose
        raise FacesError(
            f"{who} needs faces with 68 landmarks; {len(lacking)} of {len(faces.files)} in "
            f"{faces.folder} have none or others ({', '.join(lacking[:5])}{more}); take them out, "
            f"or {remedy}"
        )
    shares = np.empty((len(faces.files), 68, 2), np.float32)
    for share, file in zip(shares, faces.files, strict=True):
        assert file.alignment is not None
        share[:] = landmarks_in_crop(file.alignment, file.height, cropper.box(file), 1) + 0.5
    return shares


def move_shares(shares: np.ndarray, matrices: np.ndarray | None, size: int) -> np.ndarray:
    """Return where landmarks lie in pictures that were moved.

    Args:
        shares: ``(n, 68, 2)`` in shares of the picture's edge.
        matrices: ``(n, 2, 3)`` pixels to pixels, mirroring included; None for no movement.
        size: edge of the pictures in these pixels.

    Returns:
        The same form, float32.
    """
    if matrices is None:
        return shares
    pixels = shares.astype(np.float64) * size - 0.5
    moved = np.einsum("nij,npj->npi", matrices[:, :, :2], pixels) + matrices[:, None, :, 2]
    mirrored = np.linalg.det(matrices[:, :, :2]) < 0
    moved[mirrored] = moved[mirrored][:, MIRROR_68]
    moved_shares: np.ndarray = ((moved + 0.5) / size).astype(np.float32)
    return moved_shares
