"""How the faces of one side are varied in one step: random numbers, and what follows from them.

Every number is keyed by seed, step and side, and laid out by place in the global batch: a row is
the same whoever draws it, however many places there are and whichever of them it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from fs_kernel.randomness import generator
from fs_kernel.types import Side

from fs_feed_faces.options import AugmentationOptions

#: Points per axis of the grid that the random warp moves.
GRID = 5
#: Points by which each edge of a warped picture is drawn, four to each step of the grid.
_BORDER_POINTS = 4 * (GRID - 1) + 1
#: Binary digits after the point of their coordinates.
BORDER_DIGITS = 4
#: Spread of the noise on them, as a share of the picture's edge.
_NOISE = 5 / 256
#: What the uniform numbers of a picture are for, in this order.
_PURPOSES = ("lightness", "a", "b", "clahe", "tiles", "angle", "zoom", "shift_x", "shift_y", "flip")


@attrs.frozen(eq=False)
class Numbers:
    """Random numbers of some places of one side's batch.

    Attributes:
        uniform: ``(n, 10)`` 0..1, in the order of `_PURPOSES`.
        normal: ``(n, 5, 5, 2)`` of mean 0 and spread 1: x and y of the warp's grid, row by row.
    """

    uniform: np.ndarray
    normal: np.ndarray

    def of(self, purpose: str) -> np.ndarray:
        """The uniform numbers for one purpose, ``(n,)``."""
        return self.uniform[:, _PURPOSES.index(purpose)]

    def between(self, purpose: str, largest: float) -> np.ndarray:
        """The numbers for one purpose spread over ``-largest .. largest``, ``(n,)``."""
        return (2 * self.of(purpose) - 1) * largest


def draw(seed: int, step: int, side: Side, places: Sequence[int]) -> Numbers:
    """The numbers of these places of the global batch."""
    rows = max(places) + 1
    # Two streams, both row by row: no row depends on how many rows follow.
    uniform = generator(seed, step, side, "uniform").random((rows, len(_PURPOSES)))
    normal = generator(seed, step, side, "warp").standard_normal((rows, GRID, GRID, 2))
    return Numbers(uniform[places], normal[places])


@attrs.frozen(eq=False)
class Variation:
    """What is done to the pictures of one side in one step.

    Attributes:
        changes: ``(n, 3)`` -1..1, of the Lab channels, see `color_tables`; None leaves the colours.
        tiles: ``(n,)`` tiles per axis of evened out contrast, 0 for none.
        matrices: ``(n, 2, 3)`` pixels to pixels, mirroring included; None for no movement.
        warps: ``(n, 5, 5, 2)``, where the points of a grid over the moved picture come from: x and
            y from its left and upper edge in pixels; None for no random warp.
        sources: ``(n, 5, 5, 2)`` float32, where the same points come from in the picture before
            its movement: x and y of pixel centres. Warp and movement are thereby one map, linear
            between these points as the warp is.
        borders: ``(n, 4, 19, 2)`` int32, see `borders`.
    """

    changes: np.ndarray | None
    tiles: np.ndarray
    matrices: np.ndarray | None
    warps: np.ndarray | None
    sources: np.ndarray | None
    borders: np.ndarray | None

    @classmethod
    def make(cls, numbers: Numbers, options: AugmentationOptions, size: int) -> Variation:
        """What follows from the numbers for pictures of an edge of ``size`` pixels."""
        color = options.color
        none = np.zeros(len(numbers.uniform), int)
        matrices = movements(numbers, options, size)
        grids = warps(numbers, size) if options.warp and not options.warp_to_landmarks else None
        return cls(
            changes=changes(numbers, options) if color else None,
            tiles=contrast_tiles(numbers, options, size) if color else none,
            matrices=matrices,
            warps=grids,
            sources=None if grids is None else sources(grids, matrices),
            borders=None if grids is None else borders(grids, size),
        )


def changes(numbers: Numbers, options: AugmentationOptions) -> np.ndarray:
    """How the three Lab channels are changed, ``(n, 3)``."""
    limits = {"lightness": options.color_lightness, "a": options.color_ab, "b": options.color_ab}
    each = [numbers.between(name, limit / 100) for name, limit in limits.items()]
    return np.stack(each, axis=1)


def color_tables(change: np.ndarray) -> np.ndarray:
    """What each 8-bit Lab value becomes, ``(n, 256, 3)`` uint8.

    A change v >= 0 moves a channel towards white (``x + (255 - x) v``), v < 0 towards black
    (``x (1 + v)``): both are ``x (1 - |v|)`` and, if v > 0, ``255 v``.
    """
    values = np.arange(256.0)[:, None] * (1 - np.abs(change))[:, None]
    return np.rint(values + 255 * change.clip(0)[:, None]).astype(np.uint8)


def contrast_tiles(numbers: Numbers, options: AugmentationOptions, size: int) -> np.ndarray:
    """Tiles per axis whose contrast is evened out, ``(n,)``; 0 for none."""
    base = _fewest_tiles(size)
    finer = (numbers.of("tiles") * (options.color_clahe_max_size + 1)).astype(int)
    chosen = numbers.of("clahe") * 100 < options.color_clahe_chance
    return np.where(chosen, base + finer * (base // 2), 0)


def most_tiles(options: AugmentationOptions, size: int) -> int:
    """The most that `contrast_tiles` can give."""
    base = _fewest_tiles(size)
    return base + options.color_clahe_max_size * (base // 2)


def _fewest_tiles(size: int) -> int:
    return max(2, size // 128)


def movements(numbers: Numbers, options: AugmentationOptions, size: int) -> np.ndarray | None:
    """Rotation, zoom, shift and mirroring about the picture's centre, ``(n, 2, 3)``.

    None if the options allow no movement at all.
    """
    flips = options.flip and options.flip_chance
    if not (options.rotation_range or options.zoom_amount or options.shift_range or flips):
        return None
    angle = np.radians(numbers.between("angle", options.rotation_range))
    scale = 1 + numbers.between("zoom", options.zoom_amount / 100)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    shift = options.shift_range / 100 * size
    x, y = (numbers.between(name, shift) for name in ("shift_x", "shift_y"))
    centre = (size - 1) / 2
    matrices = np.array(
        [
            [cos, sin, (1 - cos - sin) * centre + x],
            [-sin, cos, (1 - cos + sin) * centre + y],
        ]
    ).transpose(2, 0, 1)
    if flips:
        mirrored = numbers.of("flip") * 100 < options.flip_chance
        matrices[mirrored, 0] = (0, 0, size - 1) - matrices[mirrored, 0]
    return matrices


def warps(numbers: Numbers, size: int) -> np.ndarray:
    """A 5 x 5 grid over the picture moved by normal noise of ``size * 5 / 256`` pixels.

    ``(n, 5, 5, 2)``, x and y from the picture's left and upper edge: without noise the warp is the
    identity.
    """
    line = np.linspace(0, size, GRID)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    return grid + numbers.normal * (size * _NOISE)


def sources(grids: np.ndarray, matrices: np.ndarray | None) -> np.ndarray:
    """See `Variation.sources`; ``grids`` are `warps`."""
    points = grids - 0.5
    if matrices is not None:
        back = inverse(matrices)
        points = np.einsum("nij,nhwj->nhwi", back[:, :, :2], points) + back[:, None, None, :, 2]
    return points.astype(np.float32)


def borders(grids: np.ndarray, size: int) -> np.ndarray:
    """What a warp takes from beyond the border of the moved picture: one shape per edge.

    Args:
        grids: `warps`.
        size: edge of the picture.

    Returns:
        ``(n, 4, 19, 2)`` int32, x and y of pixel centres times 16: left, top, right, bottom. A
        shape that lies outside the picture altogether is nothing but (-32, -32).
    """
    # Distances from the edge: of the points on it, and of those next to it.
    near, far = grids, size - grids[:, ::-1, ::-1]
    rows = [(g[:, :, i, 0], g[:, i, :, 1]) for g in (near, far) for i in (0, 1)]
    outer = np.stack([*rows[0], *rows[2]], axis=1)
    inner = np.stack([*rows[1], *rows[3]], axis=1)
    along = np.linspace(0, GRID - 1, _BORDER_POINTS)
    outer, inner = (_between(points, along) for points in (outer, inner))
    # Where the way from the one to the other crosses the border. OpenCV draws half a pixel beyond.
    depth = -outer / np.maximum(inner - outer, 1e-3) * (size / (GRID - 1)) - 0.5
    depth = np.pad(depth.clip(-2, size), ((0, 0), (0, 0), (1, 1)), constant_values=-2)
    line = np.pad(along * (size / (GRID - 1)), 1, mode="edge")
    shapes = np.stack([depth, np.broadcast_to(line, depth.shape)], axis=-1)
    shapes[:, 1::2] = shapes[:, 1::2, :, ::-1]
    shapes[:, 2:] = size - shapes[:, 2:]
    fixed = np.rint((shapes - 0.5) * 2**BORDER_DIGITS).astype(np.int32, order="C")
    fixed[(depth <= -0.5).all(axis=2)] = -2 * 2**BORDER_DIGITS
    return fixed


def _between(points: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Values ``(..., 5)`` of the grid's points interpolated at ``along``, in steps of the grid."""
    first = np.minimum(along.astype(int), GRID - 2)
    share = along - first
    return points[..., first] * (1 - share) + points[..., first + 1] * share


def inverse(matrices: np.ndarray) -> np.ndarray:
    """The affine matrices ``(n, 2, 3)`` that undo these."""
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], axis=2)
