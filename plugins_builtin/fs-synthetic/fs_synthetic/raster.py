"""Rasterize vertex grids: find the grid position that each pixel of the picture shows.

Only positions are rasterized. Everything else (color, normal, shadow) is looked up afterwards at
the grid position of each pixel, from vertex arrays or from textures.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import cv2
import numpy as np

from fs_synthetic.template import TEXELS

_EDGES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512)
_FAR = np.float32(-1e9)


@attrs.frozen(eq=False)
class Layer:
    """A rasterized grid, as the list of the pixels it covers.

    Attributes:
        pixel: ``(n,)`` flat index into the picture, ascending.
        row, column: ``(n,)`` float32 grid position seen there.
        nearness: ``(n,)`` float32, larger is nearer to the camera.
    """

    pixel: np.ndarray
    row: np.ndarray
    column: np.ndarray
    nearness: np.ndarray

    def keep(self, chosen: np.ndarray | slice) -> Layer:
        """Return the layer of the ``chosen`` pixels."""
        return Layer(
            self.pixel[chosen], self.row[chosen], self.column[chosen], self.nearness[chosen]
        )

    def parts(self, length: int = 16384) -> Iterator[Layer]:
        """Yield the layer in pieces that fit the CPU's cache."""
        for start in range(0, len(self.pixel), length):
            yield self.keep(np.s_[start : start + length])

    def of_vertices(self, values: np.ndarray) -> np.ndarray:
        """Return vertex values ``(rows, columns[, k])`` at the pixels, ``(n[, k])`` float32."""
        return sample(values, self.row, self.column)

    def of_texture(self, texture: np.ndarray) -> np.ndarray:
        """Return texel values ``(th, tw[, k])`` at the pixels, ``(n[, k])`` float32."""
        return sample(texture, self.row * TEXELS, self.column * TEXELS)


def sample(image: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return bilinear values of ``image (h, w[, k])``, k <= 4, at ``(n,)`` float32 positions."""
    width = 1024
    height = -(-len(row) // width)
    flat = np.zeros((2, height * width), np.float32)
    flat[0, : len(row)], flat[1, : len(row)] = column, row
    maps = flat.reshape(2, height, width)
    found = cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(height * width, *image.shape[2:])[: len(row)]


def rasterize(
    xy: np.ndarray,
    nearness: np.ndarray,
    size: int,
    solid: np.ndarray | None = None,
    inside: bool = False,
) -> Layer:
    """Rasterize a grid of quads, each as two triangles; the nearest surface is visible.

    Args:
        xy: ``(rows, columns, 2)`` float32 pixel positions (centers are whole numbers).
        nearness: ``(rows, columns)`` float32.
        size: edge of the square picture.
        solid: ``(rows, columns)`` bool: only quads with a solid corner are drawn; None = all.
        inside: draw what is seen from inside; else what is seen from outside, the side from
            which columns run rightwards as rows run down.
    """
    rows, columns = nearness.shape
    flat = xy.reshape(-1, 2)
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    a, b, c, d = first, first + 1, first + columns, first + columns + 1
    index = np.concatenate([np.stack([a, b, c], 1), np.stack([d, c, b], 1)])
    lower = np.arange(len(index)) >= len(first)
    p, q, r = (flat[index[:, i]] for i in range(3))
    area = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
    low, high = np.minimum(np.minimum(p, q), r), np.maximum(np.maximum(p, q), r)
    start = np.maximum(np.ceil(low), 0).astype(np.int32)
    extent = np.minimum(np.floor(high), size - 1).astype(np.int32) - start + 1
    usable = (extent[:, 0] > 0) & (extent[:, 1] > 0)
    usable &= area < -1e-6 if inside else area > 1e-6
    if solid is not None:
        quads = solid[:-1, :-1] | solid[1:, :-1] | solid[:-1, 1:] | solid[1:, 1:]
        usable &= np.tile(quads.reshape(-1), 2)
    edge = np.maximum(extent[:, 0], extent[:, 1])
    found: list[tuple[np.ndarray, ...]] = []
    smaller = 0
    for limit in _EDGES:
        chosen = np.flatnonzero(usable & (edge > smaller) & (edge <= limit))
        smaller = limit
        if len(chosen):
            corners = (p[chosen], q[chosen], r[chosen])
            found.append(_fill(corners, area[chosen], start[chosen], limit, size, chosen))
    if not found:
        empty = np.empty(0, np.float32)
        return Layer(np.empty(0, np.int64), empty, empty, empty)
    pixel, triangle, s, t = (np.concatenate(parts) for parts in zip(*found, strict=True))
    near = nearness.reshape(-1)
    i = index[triangle]
    depth = near[i[:, 0]] * (1 - s - t) + near[i[:, 1]] * s + near[i[:, 2]] * t
    best = np.full(size * size, _FAR, np.float32)
    np.maximum.at(best, pixel, depth)
    winner = np.full(size * size, -1, np.int64)
    front = np.flatnonzero(depth >= best[pixel])
    winner[pixel[front]] = front
    seen = np.flatnonzero(winner >= 0)
    chosen = winner[seen]
    s, t, triangle = s[chosen], t[chosen], triangle[chosen]
    flip = lower[triangle]
    corner = first[triangle % len(first)]
    row = (corner // columns).astype(np.float32) + np.where(flip, 1 - t, t)
    column = (corner % columns).astype(np.float32) + np.where(flip, 1 - s, s)
    return Layer(seen, row, column, depth[chosen])


def _fill(
    corners: tuple[np.ndarray, np.ndarray, np.ndarray],
    area: np.ndarray,
    start: np.ndarray,
    edge: int,
    size: int,
    triangle: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels of triangles whose boxes fit ``edge``: pixel, triangle, two weights."""
    dy, dx = np.divmod(np.arange(edge * edge, dtype=np.int32), np.int32(edge))
    p, q, r = corners
    u, v = (q - p) / area[:, None], (r - p) / area[:, None]
    offset = (start - p).astype(np.float32)
    # barycentric weights are linear in the pixel's place in the box
    s0 = offset[:, 0] * v[:, 1] - offset[:, 1] * v[:, 0]
    t0 = offset[:, 1] * u[:, 0] - offset[:, 0] * u[:, 1]
    fx, fy = dx.astype(np.float32), dy.astype(np.float32)
    s = s0[:, None] + v[:, 1:] * fx - v[:, :1] * fy
    t = t0[:, None] + u[:, :1] * fy - u[:, 1:] * fx
    inside = np.minimum(np.minimum(s, t), 1 - s - t) >= -1e-4
    hit = np.flatnonzero(inside)
    which, at = np.divmod(hit, edge * edge)
    x, y = start[which, 0] + dx[at], start[which, 1] + dy[at]
    shown = (x < size) & (y < size)
    hit, which = hit[shown], which[shown]
    pixel = y[shown].astype(np.int64) * size + x[shown]
    return pixel, triangle[which], s.reshape(-1)[hit], t.reshape(-1)[hit]
