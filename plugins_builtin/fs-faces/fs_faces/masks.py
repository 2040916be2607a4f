"""Make masks of a face in the pixels of its crop, from landmarks or from the face header.

A mask is ``(size, size)`` uint8, 255 where the face is. No function changes its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from fs_faces.constants import FACE_MASK_PARTS, LEFT_EYE, MOUTH, RIGHT_EYE
from fs_faces.geometry import crop_box, cut
from fs_faces.header import StoredMask

#: Growth of the eye and mouth masks, in percent of their edge.
_PART_DILATION = 2.5
#: Binary digits after the point in OpenCV's drawing coordinates.
_SHIFT = 4


def components(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Return the face mask of the landmarks: the union of the convex hulls of eight parts.

    Args:
        landmarks: ``(68, 2)`` in crop pixels.
        size: edge of the crop in pixels.
    """
    parts = [[i for span in part for i in range(*span)] for part in FACE_MASK_PARTS]
    return _hulls([landmarks[part] for part in parts], size)


def extended(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Return `components` with the brows raised by half their distance from the eyes.

    Each brow point is raised away from the point of the upper lid below it.
    """
    right, left = landmarks[36:42], landmarks[42:48]
    lids = np.array(
        [eye for r in (right, left) for eye in (r[0], r[1], (r[1] + r[2]) / 2, r[2], r[3])]
    )
    raised = landmarks.copy()
    raised[17:27] += (landmarks[17:27] - lids) / 2
    return components(raised, size)


def eyes(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Return a mask of both eyes, slightly grown and blurred, from 68 or 51 landmarks."""
    return _part([RIGHT_EYE, LEFT_EYE], landmarks, size)


def mouth(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Return a mask of the mouth up to its outer lips, grown and blurred as `eyes`."""
    return _part([MOUTH], landmarks, size)


def drawn(name: str, landmarks: np.ndarray, size: int, dilation: float) -> np.ndarray:
    """Return the mask "components" or "extended", grown by ``dilation`` percent of ``size``."""
    draw = {"components": components, "extended": extended}[name]
    return dilate(draw(landmarks, size), dilation)


def stored(
    mask: StoredMask,
    offsets: Mapping[str, np.ndarray],
    centering: str,
    coverage: float = 1.0,
    vertical_offset: float = 0.0,
    *,
    dilation: float = 0.0,
    threshold: float = 0.0,
    blur_kernel: int = 0,
) -> np.ndarray:
    """Return a stored mask in a crop's field of view, at the stored mask's own resolution.

    Args:
        mask: from the face header.
        offsets: of the face's alignment.
        centering: "face", "head" or "legacy", of the crop.
        coverage: share of the centering's full crop, 0.625..1.
        vertical_offset: moves the face down by this share of the unit square.
        dilation: see `dilate`.
        threshold: values nearer than this to black or white become so, in percent.
        blur_kernel: see `blur`; in pixels of the stored mask.

    Returns:
        ``(edge, edge)`` uint8, zero where the stored mask does not reach.

    Raises:
        HeaderError: the mask's data is damaged.
    """
    image = dilate(mask.image(), dilation)
    low = 255 * threshold / 100
    image = np.where(image < low, 0, np.where(image > 255 - low, 255, image)).astype(np.uint8)
    image = blur(image, blur_kernel)
    box = crop_box(offsets, mask.size, mask.centering, centering, coverage, vertical_offset)
    return cut(image, box)


def dilate(mask: np.ndarray, percent: float) -> np.ndarray:
    """Return a mask grown (positive) or shrunk by an elliptic kernel of ``percent`` of its edge.

    The kernel's edge is made odd: an even one would move the mask by half a pixel.
    """
    kernel = round(mask.shape[0] * abs(percent) / 100)
    if kernel == 0:
        return mask
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel | 1, kernel | 1))
    return (cv2.dilate if percent > 0 else cv2.erode)(mask, element)


def blur(mask: np.ndarray, kernel: int) -> np.ndarray:
    """Return a mask blurred by a Gaussian kernel of this many pixels, made odd; 0 for none."""
    if kernel == 0:
        return mask
    return cv2.GaussianBlur(mask, (kernel | 1, kernel | 1), 0)


def _part(spans: list[tuple[int, int]], landmarks: np.ndarray, size: int) -> np.ndarray:
    first = 68 - len(landmarks)
    hulls = [landmarks[start - first : end - first] for start, end in spans]
    return blur(dilate(_hulls(hulls, size), _PART_DILATION), size // 16)


def _hulls(groups: list[np.ndarray], size: int) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    for points in groups:
        # Points far outside would overflow the drawing coordinates.
        fixed = np.rint(np.clip(points, -4 * size, 5 * size) * 2**_SHIFT).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(fixed), 255, cv2.LINE_AA, _SHIFT)
    return mask
