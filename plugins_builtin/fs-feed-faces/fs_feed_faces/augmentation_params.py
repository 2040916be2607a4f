"""Draw the random numbers of one step, and derive the parameters of its augmentation from them.

Every number is keyed by seed, step and side, and laid out by index in the global batch: a row is
the same in every process, however many rows are drawn and in whichever order.
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
#: Points along each edge of a warped picture, four to each step of the grid.
_BORDER_POINTS = 4 * (GRID - 1) + 1
#: Fractional bits of their coordinates.
BORDER_DIGITS = 4
#: Standard deviation of the noise on the grid, as a share of the picture's edge.
_NOISE = 5 / 256
#: Purposes of the uniform numbers of a picture, in their order.
_PURPOSES = ("lightness", "a", "b", "clahe", "tiles", "angle", "zoom", "shift_x", "shift_y", "flip")


@attrs.frozen(eq=False)
class RandomNumbers:
    """Random numbers of some rows of one side's batch.

    Attributes:
        uniform: ``(n, 10)`` 0..1, in the order of `_PURPOSES`.
        normal: ``(n, 5, 5, 2)`` of mean 0 and deviation 1: x and y of the warp's grid, row by row.
    """

    uniform: np.ndarray
    normal: np.ndarray

    def of(self, purpose: str) -> np.ndarray:
        """Return the uniform numbers for one purpose, ``(n,)``."""
        return self.uniform[:, _PURPOSES.index(purpose)]

    def between(self, purpose: str, largest: float) -> np.ndarray:
        """Return the numbers for one purpose, scaled to ``-largest .. largest``, ``(n,)``."""
        return (2 * self.of(purpose) - 1) * largest


def draw_numbers(seed: int, step: int, side: Side, indices: Sequence[int]) -> RandomNumbers:
    """Return the random numbers of these rows of the global batch."""
    rows = max(indices) + 1
    # Two streams, each drawn row by row, so that no row depends on how many rows follow.
    uniform = generator(seed, step, side, "uniform").random((rows, len(_PURPOSES)))
    normal = generator(seed, step, side, "warp").standard_normal((rows, GRID, GRID, 2))
    return RandomNumbers(uniform[indices], normal[indices])


@attrs.frozen(eq=False)
class AugmentationParams:
    """Parameters of the augmentation of one side in one step.

    Attributes:
        changes: ``(n, 3)`` -1..1, of the Lab channels, see `color_tables`; None leaves the colors.
        tiles: ``(n,)`` tiles per axis of local contrast equalization, 0 for none.
        matrices: ``(n, 2, 3)`` pixels to pixels, mirroring included; None for no movement.
        warps: ``(n, 5, 5, 2)``, source positions of the points of a grid over the moved picture: x
            and y from its left and upper edge in pixels; None for no random warp.
        sources: ``(n, 5, 5, 2)`` float32, source positions of the same points in the picture before
            its movement: x and y of pixel centers. Warp and movement are thereby one map, linear
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
    def make(
        cls, numbers: RandomNumbers, options: AugmentationOptions, size: int
    ) -> AugmentationParams:
        """Return the parameters for pictures of ``size`` pixels along each edge."""
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


def changes(numbers: RandomNumbers, options: AugmentationOptions) -> np.ndarray:
    """Return the changes of the three Lab channels, ``(n, 3)``."""
    limits = {"lightness": options.color_lightness, "a": options.color_ab, "b": options.color_ab}
    each = [numbers.between(name, limit / 100) for name, limit in limits.items()]
    return np.stack(each, axis=1)


def color_tables(change: np.ndarray) -> np.ndarray:
    """Return lookup tables of 8-bit Lab values, ``(n, 256, 3)`` uint8.

    A change v >= 0 moves a channel towards white (``x + (255 - x) v``), v < 0 towards black
    (``x (1 + v)``): both are ``x (1 - |v|)`` and, if v > 0, ``255 v``.
    """
    values = np.arange(256.0)[:, None] * (1 - np.abs(change))[:, None]
    table: np.ndarray = np.rint(values + 255 * change.clip(0)[:, None])
    return table.astype(np.uint8)


def contrast_tiles(numbers: RandomNumbers, options: AugmentationOptions, size: int) -> np.ndarray:
    """Return the tiles per axis of local contrast equalization, ``(n,)``; 0 for none."""
    base = _fewest_tiles(size)
    finer = (numbers.of("tiles") * (options.color_clahe_max_size + 1)).astype(int)
    chosen = numbers.of("clahe") * 100 < options.color_clahe_chance
    return np.where(chosen, base + finer * (base // 2), 0)


def most_tiles(options: AugmentationOptions, size: int) -> int:
    """Return the largest number that `contrast_tiles` can return."""
    base = _fewest_tiles(size)
    return base + options.color_clahe_max_size * (base // 2)


def _fewest_tiles(size: int) -> int:
    return max(2, size // 128)


def movements(numbers: RandomNumbers, options: AugmentationOptions, size: int) -> np.ndarray | None:
    """Return rotation, zoom, shift and mirroring about the picture's center, ``(n, 2, 3)``.

    Returns None if the options allow no movement.
    """
    flips = options.flip and options.flip_chance
    if not (options.rotation_range or options.zoom_amount or options.shift_range or flips):
        return None
    angle = np.radians(numbers.between("angle", options.rotation_range))
    scale = 1 + numbers.between("zoom", options.zoom_amount / 100)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    shift = options.shift_range / 100 * size
    x, y = (numbers.between(name, shift) for name in ("shift_x", "shift_y"))
    center = (size - 1) / 2
    matrices = np.array(
        [
            [cos, sin, (1 - cos - sin) * center + x],
            [-sin, cos, (1 - cos + sin) * center + y],
        ]
    ).transpose(2, 0, 1)
    if flips:
        mirrored = numbers.of("flip") * 100 < options.flip_chance
        matrices[mirrored, 0] = (0, 0, size - 1) - matrices[mirrored, 0]
    return matrices


def warps(numbers: RandomNumbers, size: int) -> np.ndarray:
    """Return 5 x 5 grids over the picture moved by normal noise of ``size * 5 / 256`` pixels.

    Returns:
        ``(n, 5, 5, 2)``, x and y from the picture's left and upper edge: without noise the warp is
        the identity.
    """
    line = np.linspace(0, size, GRID)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    return grid + numbers.normal * (size * _NOISE)


def sources(grids: np.ndarray, matrices: np.ndarray | None) -> np.ndarray:
    """Return `AugmentationParams.sources`; ``grids`` are `warps`."""
    points = grids - 0.5
    if matrices is not None:
        back = inverse(matrices)
        points = np.einsum("nij,nhwj->nhwi", back[:, :, :2], points) + back[:, None, None, :, 2]
    return points.astype(np.float32)


def borders(grids: np.ndarray, size: int) -> np.ndarray:
    """Return the areas that a warp takes from beyond the moved picture, one shape per edge.

    Args:
        grids: `warps`.
        size: edge of the picture.

    Returns:
        ``(n, 4, 19, 2)`` int32, x and y of pixel centers times 16: left, top, right, bottom. A
        shape that lies entirely outside the picture repeats the point (-32, -32).
    """
    # Distances from the edge: of the points on it, and of those next to it.
    near, far = grids, size - grids[:, ::-1, ::-1]
    rows = [(g[:, :, i, 0], g[:, i, :, 1]) for g in (near, far) for i in (0, 1)]
    outer = np.stack([*rows[0], *rows[2]], axis=1)
    inner = np.stack([*rows[1], *rows[3]], axis=1)
    along = np.linspace(0, GRID - 1, _BORDER_POINTS)
    outer, inner = (_between(points, along) for points in (outer, inner))
    # Where the line between both crosses the border. OpenCV draws half a pixel beyond.
    depth = -outer / np.maximum(inner - outer, 1e-3) * (size / (GRID - 1)) - 0.5
    depth = np.pad(depth.clip(-2, size), ((0, 0), (0, 0), (1, 1)), constant_values=-2)
    line = np.pad(along * (size / (GRID - 1)), 1, mode="edge")
    shapes = np.stack([depth, np.broadcast_to(line, depth.shape)], axis=-1)
    shapes[:, 1::2] = shapes[:, 1::2, :, ::-1]
    shapes[:, 2:] = size - shapes[:, 2:]
    fixed: np.ndarray = np.rint((shapes - 0.5) * 2**BORDER_DIGITS).astype(np.int32, order="C")
    fixed[(depth <= -0.5).all(axis=2)] = -2 * 2**BORDER_DIGITS
    return fixed


def _between(points: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return values ``(..., 5)`` at the grid's points, interpolated at grid positions ``along``."""
    first = np.minimum(along.astype(int), GRID - 2)
    share = along - first
    between: np.ndarray = points[..., first] * (1 - share) + points[..., first + 1] * share
    return between


def inverse(matrices: np.ndarray) -> np.ndarray:
    """Return the inverse affine matrices, ``(n, 2, 3)``."""
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], axis=2)
