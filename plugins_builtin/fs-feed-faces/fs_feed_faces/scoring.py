"""Score swapped faces against true pictures of the same scenes."""

from __future__ import annotations

import warnings
from pathlib import Path

import attrs
import numpy as np
from fs_faces.geometry import cut
from fs_faces.pictures import UnreadableError
from fs_kernel.errors import FacesError

from fs_feed_faces.crops import Cropper
from fs_feed_faces.face_file import FaceFile
from fs_feed_faces.options import FaceOptions
from fs_feed_faces.source import open_faces


@attrs.frozen
class Score:
    """Mean peak signal-to-noise ratios in dB, of 8-bit pictures.

    Attributes:
        faces: number of pictures compared.
        face_psnr: over the area of the face mask.
        view_psnr: over the crop that the network sees.
    """

    faces: int
    face_psnr: float
    view_psnr: float


def psnr(first: np.ndarray, second: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return the peak signal-to-noise ratio of two uint8 pictures in dB, at most 100.

    Args:
        first: ``(h, w, 3)``.
        second: ``(h, w, 3)``.
        weight: ``(h, w)``, of each pixel; None weights all equally.
    """
    error = np.square(first.astype(np.float64) - second).mean(axis=2)
    mean = float(np.average(error, weights=weight))
    return 100.0 if mean < 255**2 * 1e-10 else float(10 * np.log10(255**2 / mean))


def compare(swapped: Path, truth: Path, options: FaceOptions) -> Score:
    """Return the score of a folder's pictures against those of the same name in another.

    Crop and mask are those of the swapped picture's header.

    Raises:
        FacesError: a folder is unusable, no names agree, or two pictures differ in size.
    """
    results = open_faces(swapped, options, needs_mask=True, fewest=1)
    truths = {file.path.name: file for file in open_faces(truth, options, False, 1).files}
    pairs = [(f, truths[f.path.name]) for f in results.files if f.path.name in truths]
    if not pairs:
        raise FacesError(f"no picture in {swapped} has the name of one in {truth}")
    if len(pairs) < len(results.files):
        warnings.warn(
            f"{len(results.files) - len(pairs)} pictures in {swapped} have no namesake in {truth}",
            stacklevel=2,
        )
    scores = np.array([_score(result, true, options) for result, true in pairs])
    face, view = scores.mean(axis=0)
    return Score(len(pairs), float(face), float(view))


def _score(result: FaceFile, truth: FaceFile, options: FaceOptions) -> tuple[float, float]:
    if (result.height, result.width) != (truth.height, truth.width):
        raise FacesError(
            f"{result.path} and {truth.path} differ in size; compare pictures of the same face"
        )
    box = Cropper(options, 1, ()).box(result)
    cropper = Cropper(options, box.size, ())
    try:
        first, second = (cut(cropper.picture(file), box) for file in (result, truth))
        weight = cropper.mask(result, "face")
    except UnreadableError as error:
        raise FacesError(f"cannot compare {result.path.name}: {error}") from None
    # What lies beyond the stored picture is black in both, and would raise the score.
    inside = cut(np.ones((result.height, result.width)), box)
    face = psnr(first, second, weight) if weight.any() else psnr(first, second, inside)
    return face, psnr(first, second, inside)
