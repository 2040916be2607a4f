"""Warp a face so that its landmarks lie where those of another person's face do.

The landmarks of the warped picture are those of a similar face of another side; in between, the
picture is stretched linearly over a triangulation. The network's input thereby has one shape for
all sides, while the target keeps its own shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import cv2
import numpy as np
from fs_kernel.types import Side

from fs_feed_faces.progress_bar import track

#: Number of faces of another side that count as similar.
_SIMILAR = 10
#: Standard deviation of the noise on the landmarks, as a share of the picture's edge.
_NOISE = 2 / 256
#: The first of 68 landmarks that does not belong to the jaw.
_INNER = 17
#: Corners and middles of the edges: points of a picture that stay in place.
_ANCHORS = np.array([[x, y] for x in (0, 0.5, 1) for y in (0, 0.5, 1) if (x, y) != (0.5, 0.5)])
#: Number of distances in memory at once.
_AT_ONCE = 2**23


@attrs.frozen(eq=False)
class Matches:
    """Landmarks of one side's faces, and of similar faces of the other sides.

    Attributes:
        points: ``(n, 68, 2)`` in shares of the crop's edge.
        others: the same of each other side, ``(m, 68, 2)``.
        nearest: per other side ``(n, k)``, its faces that are nearest to each face.
    """

    points: np.ndarray
    others: Sequence[np.ndarray]
    nearest: Sequence[np.ndarray]

    def draw(
        self, index: int, size: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a face's landmarks and their targets: those of a random match, with noise.

        Args:
            index: of the face.
            size: edge of the picture.
            random: source of the choice; all other sides are equally likely.

        Returns:
            Two arrays ``(68, 2)`` in pixels.
        """
        side = int(random.integers(len(self.others)))
        nearest = self.nearest[side][index]
        similar = self.others[side][nearest[random.integers(len(nearest))]]
        match = similar + random.normal(0, _NOISE, similar.shape)
        return self.points[index] * size - 0.5, match * size - 0.5


def find_matches(points: Mapping[Side, np.ndarray]) -> dict[Side, Matches]:
    """Return for each side the similar faces of the other sides.

    Args:
        points: per side ``(n, 68, 2)``; a single side's faces match each other.
    """
    found = {}
    for side, own in points.items():
        others = [points[other] for other in points if other != side] or [own]
        found[side] = Matches(own, others, [nearest(own, other, _SIMILAR) for other in others])
    return found


def nearest(own: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    """Return for each row of ``own`` the ``count`` nearest of ``other`` (all, if there are fewer).

    Args:
        own: ``(n, 68, 2)``.
        other: ``(m, 68, 2)``.
        count: of neighbors.

    Returns:
        ``(n, min(count, m))`` int32 indices of ``other``, the nearest first.
    """
    count = min(count, len(other))
    middle = other.mean(axis=0)
    rows, columns = ((points - middle).reshape(len(points), -1) for points in (own, other))
    squares = (columns**2).sum(axis=1)

    def chunks() -> Iterator[np.ndarray]:
        step = max(1, _AT_ONCE // len(other))
        for start in range(0, len(rows), step):
            # The square of the row itself is omitted: it does not change the order.
            distances = squares - 2 * rows[start : start + step] @ columns.T
            least = np.argpartition(distances, count - 1, axis=1)[:, :count]
            order = np.take_along_axis(distances, least, axis=1).argsort(axis=1)
            yield from np.take_along_axis(least, order, axis=1).astype(np.int32)

    return np.stack(list(track(chunks(), len(rows), "landmarks: compared {} of {} faces")))


def maps(size: int, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the source position of each pixel of the warped picture.

    The picture's corners and the middles of its edges stay in place. Points that lie outside the
    picture, and points of the jaw within the rest of the face, as in profile, are left out, in the
    source or in the target.

    Args:
        size: edge of the picture.
        source: ``(68, 2)`` landmarks of the picture in pixels.
        target: ``(68, 2)`` positions they are moved to.

    Returns:
        x and y, each ``(size, size)`` float32.
    """
    kept = _usable(source, size) & _usable(target, size)
    anchors = _ANCHORS * (size - 1)
    there = np.concatenate([target[kept], anchors]).astype(np.float32)
    here = np.concatenate([source[kept], anchors])
    triangles = triangulate(there, size)
    corners = np.concatenate([there[triangles], np.ones((*triangles.shape, 1))], axis=2)
    # Each triangle's affine map; that of pixels in no triangle is the identity.
    affine = np.linalg.solve(corners, here[triangles]).transpose(2, 1, 0)
    affine = np.concatenate([affine, np.eye(2, 3)[..., None]], axis=2).astype(np.float32)
    # np.take is much faster than indexing.
    found = np.take(affine, _paint(size, there[triangles]), axis=2, mode="clip")
    line = np.arange(size, dtype=np.float32)
    x, y = (np.clip(a * line + b * line[:, None] + c, 0, size - 1) for a, b, c in found)
    return x, y


def triangulate(points: np.ndarray, size: int) -> np.ndarray:
    """Return the Delaunay triangles of points of a picture, without those of almost no area.

    Args:
        points: ``(n, 2)`` float32 within the picture; two may coincide.
        size: edge of the picture.

    Returns:
        ``(m, 3)`` indices of points, triangles in ascending order of their area.
    """
    # Subdiv2D adds three outer points around this rectangle. The further away they are, the fewer
    # flat triangles at the border contain one of them and are lost.
    division = cv2.Subdiv2D((-8 * size, -8 * size, 17 * size, 17 * size))
    division.insert(points.tolist())
    # OpenCV's stub says that this is a list.
    corners = np.asarray(division.getTriangleList()).reshape(-1, 2)
    known, first = np.unique(_key(points), return_index=True)
    triangles = first[np.searchsorted(known, _key(corners))].reshape(-1, 3)
    a, b, c = points.astype(np.float64)[triangles].transpose(1, 2, 0)
    areas = np.abs((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]) / 2
    order = areas.argsort(kind="stable")
    chosen: np.ndarray = triangles[order[areas[order] > 1e-3]]
    return chosen


def _key(points: np.ndarray) -> np.ndarray:
    """Return one number per point ``(n, 2)`` float32, equal for equal points."""
    return np.ascontiguousarray(points + 0.0, np.float32).view(np.int64)[:, 0]


def _usable(points: np.ndarray, size: int) -> np.ndarray:
    inside: np.ndarray = np.all((points > 0) & (points < size - 1), axis=1)
    hull = cv2.convexHull(points[_INNER:].astype(np.float32))
    for number, (x, y) in enumerate(points[:_INNER].tolist()):
        inside[number] &= cv2.pointPolygonTest(hull, (x, y), False) < 0
    return inside


def _paint(size: int, triangles: np.ndarray) -> np.ndarray:
    """Return each pixel's triangle, ``(size, size)`` int32; their count where there is none."""
    numbers = np.full((size, size), len(triangles), np.int32)
    fixed = np.rint(triangles * 16).astype(np.int32)
    # Both triangles paint the pixels of a shared edge; larger triangles come later and win.
    for number, corners in enumerate(fixed):
        cv2.fillConvexPoly(numbers, corners, number, cv2.LINE_8, 4)
    return numbers
