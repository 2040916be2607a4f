"""Define the template head: one lofted grid of vertices, and where features lie on it.

Units: head units of `fs_faces.constants.HEAD_POINTS_3D` (outer eye corners at x = +-5.31, about
0.85 cm each); x to the head's left (the picture's right), y up, z out of the face. The grid has a
row per contour ("ring") from the crown over face, chin and neck to the shoulders, and a column per
azimuth; the first and last column coincide at the back. Two rows almost coincide along the lip
line: the strip between them opens into the mouth.

"Template" positions are those of this grid. Persons and expressions move the vertices, features
are painted at template positions, so paint and geometry always move together.
"""

from __future__ import annotations

import functools

import attrs
import numpy as np

#: Texels per grid cell of every texture.
TEXELS = 6
LIP_LINE = -7.75
MOUTH_CORNER = 3.35
EYE_CENTER = (3.55, -0.02)

# front (y, z), side (y, z, half width), back (y, z), squareness of the front, degrees from the
# front at which the ring begins to rise towards its side
RINGS = np.array(
    [
        [14.0, -3.5, 14.0, -3.6, 0.02, 14.0, -3.7, 2.0, 25],
        [13.3, 0.6, 13.1, -3.7, 4.3, 13.1, -8.0, 2.0, 25],
        [11.2, 3.9, 10.7, -4.0, 7.0, 10.7, -11.5, 2.1, 25],
        [8.0, 5.8, 7.5, -4.0, 8.4, 7.5, -13.8, 2.2, 25],
        [5.0, 6.5, 4.5, -4.0, 8.8, 4.0, -14.8, 2.25, 25],
        [2.2, 6.6, 2.2, -3.8, 8.65, 1.0, -14.6, 2.3, 25],
        [0.0, 5.9, 0.2, -3.6, 8.5, -1.5, -13.6, 2.3, 25],
        [-3.5, 5.6, -2.4, -3.2, 8.3, -4.5, -11.6, 2.15, 27],
        [-5.5, 5.9, -3.8, -2.9, 8.0, -6.0, -10.4, 2.05, 29],
        [LIP_LINE, 6.0, -5.2, -2.5, 7.7, -7.5, -9.4, 2.0, 30],
        [-9.8, 5.5, -6.6, -2.2, 7.3, -8.6, -8.8, 1.95, 20],
        [-11.5, 5.5, -7.9, -2.0, 6.9, -9.6, -8.4, 1.85, 8],
        [-12.7, 4.7, -8.9, -2.0, 6.5, -10.4, -8.2, 1.8, 3],
        [-13.25, 3.0, -9.7, -2.6, 5.8, -11.0, -8.0, 1.8, 2],
        [-13.3, 0.9, -11.2, -3.2, 5.55, -12.0, -7.9, 1.9, 2],
        [-14.4, -0.3, -13.0, -3.6, 5.6, -13.5, -8.0, 2.0, 10],
        [-17.2, -0.6, -16.4, -4.0, 5.95, -16.4, -8.5, 2.0, 25],
        [-19.6, -0.2, -18.4, -4.5, 7.6, -18.4, -9.5, 2.0, 25],
        [-21.4, 1.0, -20.0, -4.5, 11.5, -19.8, -10.5, 2.2, 25],
        [-24.0, 2.5, -22.2, -4.5, 16.8, -22.2, -11.5, 2.4, 25],
        [-30.0, 4.0, -28.5, -4.5, 20.5, -29.0, -12.0, 2.6, 25],
        [-44.0, 5.0, -44.0, -4.5, 22.0, -44.0, -12.0, 2.6, 25],
    ],
    dtype=np.float64,
)

# ring coordinate and azimuth in degrees of landmarks 0..8 (the other side mirrors them)
_JAW = np.array(
    [
        [6.3, -87], [7.6, -85], [8.9, -82.5], [10.2, -79], [11.4, -71],
        [11.9, -56], [12.15, -39], [12.3, -20], [12.35, 0],
    ]
)  # fmt: skip
# x, y of landmarks 17..21, 27..30, 31..33, 36..41 (by the lids), 48..51, 57..59
_RIGHT_BROW = [[-6.75, 1.45], [-5.95, 2.35], [-4.5, 2.75], [-3.05, 2.55], [-1.6, 2.0]]
_NOSE_RIDGE = [[0, 0.15], [0, -1.25], [0, -2.65], [0, -4.05]]
_NOSE_BASE = [[-1.75, -5.05], [-0.92, -5.4], [0, -5.62]]


@attrs.frozen(eq=False)
class Template:
    """The undeformed grid.

    Attributes:
        points: ``(rows, columns, 3)`` float32.
        ring: ``(rows,)`` ring coordinate of each row, 0 (crown) to 21 (below the shoulders).
        azimuth: ``(columns,)`` radians, 0 in front, negative on the head's right.
        lip_row: the row of the upper lip's inner edge; the next one is the lower lip's.
        texel_points: ``(th, tw, 3)`` the same surface at every texel.
        texel_ring, texel_azimuth: ``(th, tw)`` ring coordinate and azimuth at every texel.
    """

    points: np.ndarray
    ring: np.ndarray
    azimuth: np.ndarray
    lip_row: int
    texel_points: np.ndarray
    texel_ring: np.ndarray
    texel_azimuth: np.ndarray


def smoothstep(low: float, high: float, value: np.ndarray | float) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high``, smooth between; falling if ``high < low``."""
    t = np.clip((np.asarray(value) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(points: np.ndarray, x: float, y: float, sigma_x: float, sigma_y: float) -> np.ndarray:
    """Return a Gaussian of height 1 over the frontal plane, at ``x`` and ``-x``, front only."""
    px = np.abs(points[..., 0]) if x else points[..., 0]
    hill = np.exp(-0.5 * (((px - x) / sigma_x) ** 2 + ((points[..., 1] - y) / sigma_y) ** 2))
    bumps: np.ndarray = hill * smoothstep(-4.0, 0.0, points[..., 2])
    return bumps


def spline(knots: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the Catmull-Rom curve through ``knots (n, k)`` at positions ``at`` in 0..n-1."""
    index = np.clip(np.floor(at).astype(int), 0, len(knots) - 2)
    t = (at - index)[..., None]
    padded = np.concatenate([knots[:1], knots, knots[-1:]])
    a, b, c, d = (padded[index + i] for i in range(4))
    curve: np.ndarray = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return curve


def loft(rings: np.ndarray, ring: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Return points of the surface through ``rings`` (rows as in the template's table).

    Args:
        rings: ``(n, 9)``.
        ring: ``(r, 1)`` or ``(r, c)`` ring coordinates.
        azimuth: ``(1, c)`` or ``(r, c)`` radians.

    Returns:
        ``(r, c, 3)`` float32 points.
    """
    r = spline(rings, np.asarray(ring, np.float64))
    yf, zf, ys, zs, width, yb, zb, square, rise = np.moveaxis(r, -1, 0)
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    degrees = np.abs(np.degrees(azimuth))
    x = width * sine
    front = np.clip(1 - np.abs(sine) ** square, 0, 1) ** (1 / square)
    z = np.where(cosine > 0, zs + (zf - zs) * front, zs + (zb - zs) * np.abs(cosine))
    to_side = np.clip((degrees - rise) / (100 - rise), 0, 1)
    y = yf + (ys - yf) * to_side**2 * (3 - 2 * to_side) + (yb - ys) * smoothstep(85, 180, degrees)
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)


@functools.cache
def template() -> Template:
    """Return the template, built at the first call."""
    slit = 0.012
    ring = np.concatenate(
        [
            np.linspace(0, 2.6, 9)[:-1],
            np.linspace(2.6, 4, 14)[:-1],
            np.linspace(4, 9 - slit, 46),
            np.linspace(9 + slit, 13, 24),
            np.linspace(13, 18, 16)[1:],
            np.linspace(18, 21, 6)[1:],
        ]
    )
    q = np.linspace(-1, 1, 83)
    front = 105 * (0.62 * q + 0.38 * q**3)
    back = np.linspace(105, 180, 10)[1:]
    azimuth = np.radians(np.concatenate([-back[::-1], front, back]))
    fine_row = np.arange((len(ring) - 1) * TEXELS + 1) / TEXELS
    fine_column = np.arange((len(azimuth) - 1) * TEXELS + 1) / TEXELS
    texel_ring = np.interp(fine_row, np.arange(len(ring)), ring)[:, None]
    texel_azimuth = np.interp(fine_column, np.arange(len(azimuth)), azimuth)[None]
    shape = (len(fine_row), len(fine_column))
    return Template(
        points=loft(RINGS, ring[:, None], azimuth[None]),
        ring=ring,
        azimuth=azimuth,
        lip_row=int(np.argmax(ring > 9)) - 1,
        texel_points=loft(RINGS, texel_ring, texel_azimuth),
        texel_ring=np.broadcast_to(texel_ring, shape).astype(np.float32),
        texel_azimuth=np.broadcast_to(texel_azimuth, shape).astype(np.float32),
    )


def grid_position(xy: np.ndarray) -> np.ndarray:
    """Return where frontal template points lie on the grid.

    Args:
        xy: ``(n, 2)`` x, y in head units, on the front of the face.

    Returns:
        ``(n, 2)`` float64 (row, column), by Newton's method on the lofted surface.
    """
    base = template()
    rows, columns = np.arange(len(base.ring)), np.arange(len(base.azimuth))

    def place(at: np.ndarray) -> np.ndarray:
        ring = np.interp(at[:, 0], rows, base.ring)[:, None]
        azimuth = np.interp(at[:, 1], columns, base.azimuth)[:, None]
        return loft(RINGS, ring, azimuth)[:, 0, :2]

    front = np.abs(base.azimuth) < np.pi / 2
    first = int(np.argmax(front))
    face = (base.ring > 2.5) & (base.ring < 13)
    top = int(np.argmax(face))
    candidates = base.points[np.ix_(face, front)][..., :2].reshape(-1, 1, 2)
    nearest = np.argmin(((candidates - xy[None]) ** 2).sum(-1), axis=0)
    width = int(front.sum())
    at = np.stack([top + nearest // width, first + nearest % width], axis=1).astype(np.float64)
    row, column = np.array([0.5, 0.0]), np.array([0.0, 0.5])
    for _ in range(6):
        error = xy - place(at)
        d_row = place(at + row) - place(at - row)
        d_column = place(at + column) - place(at - column)
        jacobian = np.stack([d_row, d_column], axis=-1)
        at += np.clip(np.linalg.solve(jacobian, error[..., None])[..., 0], -1, 1)
    return at


def mirrored(points: list[list[float]]) -> list[list[float]]:
    """Return the same points on the head's other side, in reverse order."""
    return [[-x, y] for x, y in reversed(points)]


def jaw_positions() -> np.ndarray:
    """Return the grid positions (row, column) of landmarks 0..16, ``(17, 2)``."""
    base = template()
    full = np.concatenate([_JAW, (_JAW[:-1] * [1, -1])[::-1]])
    row = np.interp(full[:, 0], base.ring, np.arange(len(base.ring)))
    column = np.interp(np.radians(full[:, 1]), base.azimuth, np.arange(len(base.azimuth)))
    return np.stack([row, column], axis=1)


def brow_and_nose_points(brow_lift: float) -> np.ndarray:
    """Return the frontal template x, y of landmarks 17..35, ``(19, 2)``.

    Args:
        brow_lift: height of this person's brows above the template's.
    """
    brow = [[x, y + brow_lift] for x, y in _RIGHT_BROW]
    base = [*_NOSE_BASE, *mirrored(_NOSE_BASE[:2])]
    return np.array([*brow, *mirrored(brow), *_NOSE_RIDGE, *base], dtype=np.float64)


def jaw_limit(ring: np.ndarray) -> np.ndarray:
    """Return the azimuth in degrees at which the face ends, negative below the jaw."""
    rings = [2.4, 3.2, 4.2, 5.2, *_JAW[:, 0], 12.5]
    degrees = [35, 55, 66, 77, *np.abs(_JAW[:, 1]), -5]
    limit: np.ndarray = np.interp(ring, rings, degrees)
    return limit
