"""Compute where a face lies: alignment, centering, and the crops of a stored head picture.

A face is *aligned* by the similarity transform that brings its landmarks onto the mean face in the
unit square (the "legacy" centering). The other centerings look at another point of the same head,
found by fitting a mean head in space. A face file holds the head crop at coverage 100 %; every
other crop is cut from it. Pixel coordinates name pixel centers, as in ``cv2.warpAffine``.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import cv2
import numpy as np

from fs_faces.constants import (
    CAMERA,
    CENTERS_3D,
    HEAD_POINT_IDS,
    HEAD_POINTS_3D,
    MAP_98_TO_68,
    MEAN_FACE_4,
    MEAN_FACE_51,
    PADDING,
)


@attrs.frozen(eq=False)
class Alignment:
    """Position, scale, rotation and pose of one face in its frame.

    Attributes:
        landmarks: ``(n, 2)`` in frame pixels; 98 points have become 68.
        matrix: ``(2, 3)`` frame pixels to the unit square of the "legacy" centering.
        offsets: per centering ``(2,)``, from the unit square's center to the point looked at.
        direction: ``(3,)`` unit vector of where the face looks: towards image right, towards
            image bottom, towards the camera; (0, 0, 1) where the pose is not known.
    """

    landmarks: np.ndarray
    matrix: np.ndarray
    offsets: Mapping[str, np.ndarray]
    direction: np.ndarray

    @property
    def yaw(self) -> float:
        """Return the rotation in the aligned picture in degrees; positive = image right."""
        right, _, towards = self.direction
        return float(np.degrees(np.arctan2(right, towards)))

    @property
    def pitch(self) -> float:
        """Return the elevation relative to the mean face in degrees; positive = upwards."""
        right, down, towards = self.direction
        return float(np.degrees(np.arctan2(-down, np.hypot(right, towards))))


@attrs.frozen
class Box:
    """A square in a stored picture, in pixels; it may reach beyond the picture."""

    left: int
    top: int
    size: int


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the similarity transform that maps ``source`` onto ``target`` by least squares.

    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    IEEE PAMI 13(4), 1991.

    Args:
        source: ``(n, 2)``.
        target: ``(n, 2)``.

    Returns:
        ``(2, 3)``: rotation times scale, and translation.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_centered, target_centered = source - source_mean, target - target_mean
    u, values, v = np.linalg.svd(target_centered.T @ source_centered / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    scale = (values * signs).sum() / source_centered.var(axis=0).sum()
    linear = scale * (u * signs) @ v
    return np.column_stack([linear, target_mean - linear @ source_mean])


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return points ``(n, 2)`` mapped by an affine ``(2, 3)`` matrix."""
    mapped: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped


def align(landmarks: np.ndarray) -> Alignment:
    """Return the alignment and pose of a face, computed from its landmarks.

    Args:
        landmarks: ``(n, 2)`` in frame pixels; n = 68, 98 (mapped to 68), 51 (no jaw: the pose is
            fitted to the head points that remain) or 4 (corners of the face: no pose).
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if len(points) == 98:
        points = points[list(MAP_98_TO_68)]
    if len(points) == 4:
        centered = {centering: np.zeros(2) for centering in CENTERS_3D}
        ahead = np.array([0.0, 0.0, 1.0])
        return Alignment(points, similarity(points, MEAN_FACE_4), centered, ahead)
    matrix = similarity(points[-51:], MEAN_FACE_51)
    offsets, direction = _pose(transform(points, matrix))
    return Alignment(points, matrix, offsets, direction)


def crop_matrix(
    alignment: Alignment,
    size: int,
    centering: str,
    coverage: float = 1.0,
    vertical_offset: float = 0.0,
) -> np.ndarray:
    """Return the matrix from frame pixels to the pixels of an aligned crop.

    Args:
        alignment: of the face.
        size: edge of the crop in pixels.
        centering: "face", "head" or "legacy".
        coverage: share of the centering's full crop, 0.625..1.
        vertical_offset: moves the face down by this share of the unit square.

    Returns:
        ``(2, 3)``.
    """
    padding = round(size * (PADDING[centering] + coverage - 1) / (2 * coverage))
    unit = size - 2 * padding
    matrix = alignment.matrix.copy()
    matrix[:, 2] -= alignment.offsets[centering]
    matrix *= unit
    matrix[:, 2] += padding + np.array([0.0, vertical_offset * unit])
    return matrix


def crop_box(
    offsets: Mapping[str, np.ndarray],
    stored_size: int,
    stored_centering: str,
    centering: str,
    coverage: float = 1.0,
    vertical_offset: float = 0.0,
) -> Box:
    """Return where an aligned crop lies in a stored picture (or mask) of the same face.

    Args:
        offsets: of the face's `Alignment`.
        stored_size: edge of the stored picture in pixels.
        stored_centering: what the stored picture shows, at coverage 100 %.
        centering: what the crop shows.
        coverage: share of the centering's full crop, 0.625..1.
        vertical_offset: moves the face down by this share of the unit square.
    """
    unit = stored_size * (1 - PADDING[stored_centering])
    size = 2 * round(unit / (1 - PADDING[centering]) * coverage / 2)
    if stored_centering == centering and coverage == 1.0:
        size = stored_size
    shift = offsets[centering] - offsets[stored_centering] - (0.0, vertical_offset)
    left, top = np.rint(shift * 2 * round(unit / 2) + (stored_size - size) / 2).astype(int)
    return Box(int(left), int(top), size)


def cut(picture: np.ndarray, box: Box) -> np.ndarray:
    """Return a box of ``(h, w[, c])`` as ``(size, size[, c])``, zero beyond the picture."""
    height, width = picture.shape[:2]
    x0, y0 = max(box.left, 0), max(box.top, 0)
    x1, y1 = min(box.left + box.size, width), min(box.top + box.size, height)
    if (x1 - x0, y1 - y0) == (box.size, box.size):
        return picture[y0:y1, x0:x1]
    crop = np.zeros((box.size, box.size, *picture.shape[2:]), picture.dtype)
    if x1 > x0 and y1 > y0:
        crop[y0 - box.top : y1 - box.top, x0 - box.left : x1 - box.left] = picture[y0:y1, x0:x1]
    return crop


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """Return a square picture ``(h, h[, c])`` resized: cubic if enlarged, by area if reduced."""
    edge = picture.shape[0]
    if edge == size:
        return np.ascontiguousarray(picture)
    how = cv2.INTER_CUBIC if size > edge else cv2.INTER_AREA
    resized = cv2.resize(picture, (size, size), interpolation=how)
    return resized.reshape(size, size, *picture.shape[2:])


def landmarks_in_crop(alignment: Alignment, stored_size: int, box: Box, size: int) -> np.ndarray:
    """Return landmarks ``(n, 2)`` in the pixels of ``resize(cut(head picture, box), size)``."""
    points = transform(alignment.landmarks, crop_matrix(alignment, stored_size, "head"))
    return (points - (box.left, box.top) + 0.5) * (size / box.size) - 0.5


def _pose(normalized: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return offsets per centering and the face's direction, from 68 or 51 normalized points."""
    first = 68 - len(normalized)
    known = [i for i, landmark in enumerate(HEAD_POINT_IDS) if landmark >= first]
    pixels = normalized[[HEAD_POINT_IDS[i] - first for i in known]]
    _, rotation, translation = cv2.solvePnP(
        HEAD_POINTS_3D[known], pixels, CAMERA, np.zeros(4), flags=cv2.SOLVEPNP_ITERATIVE
    )
    offsets: dict[str, np.ndarray] = {}
    for centering, center in CENTERS_3D.items():
        if centering == "legacy":
            offsets[centering] = np.zeros(2)
            continue
        projected, _ = cv2.projectPoints(
            np.array([center]), rotation, translation, CAMERA, np.zeros(4)
        )
        offsets[centering] = projected.reshape(2) - 0.5
    axis = cv2.Rodrigues(rotation)[0][:, 2] * (1.0, 1.0, -1.0)
    # The fit may place the head behind the camera, where pictures are upside down and reversed.
    return offsets, axis * np.sign(translation[2, 0])
