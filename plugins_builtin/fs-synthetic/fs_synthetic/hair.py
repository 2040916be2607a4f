"""Model hair and ears, which move with the head."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
from fs_kernel.randomness import generator

from fs_synthetic.head import Head
from fs_synthetic.persons import Person
from fs_synthetic.shading import grid_normals
from fs_synthetic.skin import linear, noise
from fs_synthetic.template import TEXELS, loft, smoothstep, template

# Degrees from the front, and down to which ring coordinate there is hair.
_SHORT_LINE = np.array(
    [
        [0, 3.12], [18, 3.05], [32, 2.95], [44, 3.1], [54, 3.7], [61, 4.7], [66, 5.6], [72, 7.0],
        [81, 7.3], [86, 6.0], [108, 5.8], [118, 8.2], [140, 9.4], [180, 9.8],
    ]
)  # fmt: skip
_SHORT_THICKNESS = np.array([[0, 1.0], [35, 0.95], [60, 0.6], [90, 0.4], [180, 0.6]])

# as in template.py, for hair that hangs
_LONG_RINGS = np.array(
    [
        [15.0, -3.5, 15.0, -3.6, 0.02, 15.0, -3.7, 2.0, 25],
        [14.3, 1.0, 14.1, -3.7, 5.0, 14.1, -8.6, 2.0, 25],
        [12.2, 4.7, 11.6, -4.0, 7.9, 11.6, -12.6, 2.1, 25],
        [8.9, 6.6, 8.2, -4.0, 9.3, 8.0, -15.0, 2.2, 25],
        [5.0, 7.0, 4.4, -4.0, 9.7, 4.0, -15.9, 2.2, 25],
        [0.0, 6.4, 0.0, -3.8, 9.75, 0.0, -15.3, 2.2, 25],
        [-5.0, 5.8, -5.0, -3.4, 9.5, -5.0, -14.0, 2.2, 25],
        [-10.0, 5.6, -10.0, -3.0, 9.2, -10.0, -12.8, 2.2, 25],
        [-15.0, 5.6, -15.0, -2.6, 9.5, -15.0, -12.2, 2.2, 25],
        [-20.0, 5.6, -19.5, -2.4, 9.3, -19.5, -11.5, 2.2, 25],
    ]
)
_LONG_OPENING = np.array(
    [
        [2.85, 0], [3.02, 12], [3.2, 28], [3.5, 43], [3.9, 56], [4.4, 64], [5.0, 68],
        [6.0, 69], [7.0, 66], [8.0, 60], [9.0, 52],
    ]
)  # fmt: skip


@attrs.frozen(eq=False)
class Tresses:
    """A person's hair.

    Attributes:
        points: ``(rows, columns, 3)`` float32 in the head's own axes.
        solid: ``(rows, columns)`` bool: where there is hair.
        strand: ``(rows, columns, 3)`` float32 direction of the strands, of any length.
        alpha: ``(th, tw)`` float32 how much it covers.
        albedo: ``(th, tw, 3)`` float32 linear RGB.
        ruffle: ``(th, tw)`` float32 sideways tilt of the strands, about +-1.
        occlusion: ``(rows, columns)`` float32.
    """

    points: np.ndarray
    solid: np.ndarray
    strand: np.ndarray
    alpha: np.ndarray
    albedo: np.ndarray
    ruffle: np.ndarray
    occlusion: np.ndarray


@attrs.frozen(eq=False)
class Ear:
    """One ear: ``(rows, columns, 3)`` points and vertex albedo and ``(rows, columns)`` shade."""

    points: np.ndarray
    albedo: np.ndarray
    occlusion: np.ndarray


def grow_hair(head: Head) -> Tresses:
    """Return the hair of a person, according to its style."""
    return _short(head) if head.person.hair.style == "short" else _long(head)


def scalp(person: Person) -> np.ndarray:
    """Return the opacity of the hair's color on the skin under it, ``(th, tw)`` float32."""
    base = template()
    degrees = np.degrees(np.abs(base.texel_azimuth))
    if person.hair.style == "short":
        depth = np.interp(degrees, *_SHORT_LINE.T) - base.texel_ring
        return (0.92 * smoothstep(-0.12, 0.35, depth)).astype(np.float32)
    outside = degrees - np.interp(base.texel_ring, *_LONG_OPENING.T)
    inside: np.ndarray = smoothstep(0, 9, outside) * smoothstep(6.0, 5.2, base.texel_ring)
    return (0.9 * inside).astype(np.float32)


def _strands(
    person: Person, shape: tuple[int, int], lean: float
) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Return the brightness (0 +- 1) and tilt of strand textures, and the generator."""
    rng = generator(0, "people", person.name, "hair")
    streaks: np.ndarray = 0.55 * noise(rng, shape, (150, 2.2)) + 0.5 * noise(rng, shape, (170, 6))
    streaks += 0.55 * noise(rng, shape, (220, 17))
    row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    wave = 5 * noise(rng, shape, (90, 60))
    column = (column + lean * row + wave) % (shape[1] - 1)
    streaks = cv2.remap(streaks, column, row, cv2.INTER_LINEAR)
    tilt = cv2.GaussianBlur(streaks, (0, 0), 1.0)
    tilt = cv2.Sobel(tilt, cv2.CV_32F, 1, 0)
    return streaks, tilt / tilt.std(), rng


def _color(person: Person, streaks: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the albedo of strands; ``depth`` is 0 at the edge of the hair, 1 well inside."""
    shade = np.exp(person.hair.variation * 0.75 * np.clip(streaks, -2.5, 2.5))
    base: np.ndarray = linear(person.hair.color) * shade[..., None]
    return (base * (0.7 + 0.3 * depth[..., None])).astype(np.float32)


def _short(head: Head) -> Tresses:
    base = template()
    rows = int(np.searchsorted(base.ring, 10.2))
    texel_rows = (rows - 1) * TEXELS + 1
    degrees = np.degrees(np.abs(base.texel_azimuth[:texel_rows]))
    ring = base.texel_ring[:texel_rows]
    streaks, tilt, rng = _strands(head.person, ring.shape, 0.35)
    inside = np.interp(degrees, *_SHORT_LINE.T) - ring
    fringe = 0.05 * noise(rng, ring.shape, (60, 3)) + 0.07 * noise(rng, ring.shape, (60, 13))
    alpha = smoothstep(-0.12, 0.3, inside + fringe + 0.05 * streaks)
    alpha *= smoothstep(-1.9, 0.3, streaks + 4.0 * inside)
    vertex_degrees = np.degrees(np.abs(base.azimuth))[None]
    vertex_inside = np.interp(vertex_degrees, *_SHORT_LINE.T) - base.ring[:rows, None]
    rise = np.clip(vertex_inside / 1.5, 0, 1) ** 0.7
    thickness = np.interp(vertex_degrees, *_SHORT_THICKNESS.T) * rise + 0.05
    lumps = noise(rng, thickness.shape, (9, 6)) + 0.6 * noise(rng, thickness.shape, (6, 2))
    lumps *= smoothstep(0.4, 1.2, base.ring[:rows, None])
    thickness = thickness * (1 + 0.14 * lumps)
    thickness += (0.95 - thickness) * smoothstep(3.0, 0.6, base.ring[:rows, None])
    points = head.points[:rows] + thickness[..., None] * grid_normals(head.points)[:rows]
    points[0] = points[1].mean(axis=0)
    strand = np.gradient(points, axis=0)
    return Tresses(
        points=points.astype(np.float32),
        solid=vertex_inside > -0.5,
        strand=strand.astype(np.float32),
        alpha=alpha.astype(np.float32),
        albedo=_color(head.person, streaks, smoothstep(0.0, 0.8, inside)),
        ruffle=tilt.astype(np.float32),
        occlusion=(0.55 + 0.45 * smoothstep(0, 1.2, vertex_inside)).astype(np.float32),
    )


def _long(head: Head) -> Tresses:
    base = template()
    ring = np.concatenate([np.linspace(0, 5, 40), np.linspace(5, 9, 22)[1:]])
    rows = np.arange(len(ring))
    texel_ring = np.interp(np.arange((len(ring) - 1) * TEXELS + 1) / TEXELS, rows, ring)[:, None]
    azimuth = base.texel_azimuth[:1]
    degrees = np.degrees(np.abs(azimuth))
    shape = (len(texel_ring), azimuth.shape[1])
    streaks, tilt, rng = _strands(head.person, shape, 0.05)
    swept, swept_tilt = _swept(head.person, texel_ring, azimuth)
    sideways = _sideways(texel_ring, degrees)
    streaks += sideways * (swept - streaks)
    tilt += sideways * (swept_tilt - tilt)
    opening = np.interp(texel_ring, *_LONG_OPENING.T)
    fringe = 0.8 * noise(rng, shape, (120, 3)) + 1.3 * noise(rng, shape, (70, 40))
    outside = degrees - opening + fringe
    alpha = smoothstep(-1.5, 2.5, outside) * smoothstep(-2.6, -0.6, streaks + 0.7 * outside)
    uneven = 0.1 * noise(rng, shape, (200, 5)) + 0.12 * noise(rng, shape, (200, 40))
    ends = 8.8 - texel_ring + uneven
    alpha = np.where(texel_ring < 2.8, 1, alpha) * smoothstep(0.0, 0.5, ends)

    degrees = np.degrees(np.abs(base.azimuth))[None]
    column_ring = ring[:, None]
    outside_vertex = degrees - np.interp(ring, *_LONG_OPENING.T)[:, None]
    hanging = loft(_LONG_RINGS, column_ring, base.azimuth[None]).astype(np.float64)
    hanging[..., 0] *= head.person.width
    waves = noise(rng, hanging.shape[:2], (8, 9)) * smoothstep(3.5, 6, column_ring)
    hanging[..., 0] *= 1 + 0.025 * waves
    hanging[..., 2] += 0.3 * noise(rng, waves.shape, (9, 9)) * smoothstep(3, 6, column_ring)
    at = np.interp(ring, base.ring, np.arange(len(base.ring))).astype(np.float32)[:, None]
    columns = np.arange(len(base.azimuth), dtype=np.float32)[None]
    raised = head.points + 0.05 * grid_normals(head.points)
    on_scalp = cv2.remap(
        raised.astype(np.float32),
        np.repeat(columns, len(ring), 0),
        np.repeat(at, columns.shape[1], 1),
        cv2.INTER_LINEAR,
    )
    away = smoothstep(-1, 34, outside_vertex + 34 * smoothstep(3.0, 1.4, column_ring))
    away = np.maximum(away, smoothstep(4.0, 5.6, column_ring))[..., None]
    points = on_scalp * (1 - away) + hanging * away
    parting = np.exp(-0.5 * (points[..., 0] / 0.3) ** 2) * (points[..., 2] > -4)
    parting *= smoothstep(3.3, 2.0, column_ring)
    points[..., 1] -= 0.25 * parting
    points[0] = points[1].mean(axis=0)
    shade = 0.5 + 0.5 * smoothstep(-2, 14, outside_vertex)
    shade *= (1 - 0.3 * smoothstep(5, 8, column_ring)) * (1 - 0.55 * parting)
    down, across = np.gradient(points, axis=0), np.gradient(points, axis=1)
    across *= np.sign(base.azimuth)[None, :, None]
    strand = down + _sideways(column_ring, degrees)[..., None] * (across - down)
    return Tresses(
        points=points.astype(np.float32),
        solid=(outside_vertex > -4) | (column_ring < 3),
        strand=strand.astype(np.float32),
        alpha=alpha.astype(np.float32),
        albedo=_color(head.person, streaks, smoothstep(-1, 8, outside)),
        ruffle=tilt.astype(np.float32),
        occlusion=shade.astype(np.float32),
    )


def _sideways(ring: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Return where long hair runs sideways from the parting instead of downwards, 0..1."""
    behind = smoothstep(4.8, 3.4, ring) * smoothstep(95, 50, degrees)
    share: np.ndarray = behind * smoothstep(0.3, 1.2, ring)
    return share


def _swept(person: Person, ring: np.ndarray, azimuth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the strand texture of hair that falls from a parting to both sides."""
    rng = generator(0, "people", person.name, "swept hair")
    degrees = np.abs(np.degrees(azimuth))
    shape = (700, azimuth.shape[1])
    streaks: np.ndarray = 0.6 * noise(rng, shape, (3, 160)) + 0.5 * noise(rng, shape, (9, 160))
    streaks += 0.5 * noise(rng, shape, (30, 200))
    start = ring - 1.5 * (degrees / 70) ** 1.6
    row = ((start + 3.5) * 85).astype(np.float32)
    column = np.broadcast_to(np.arange(shape[1], dtype=np.float32), row.shape)
    streaks = cv2.remap(
        streaks, np.ascontiguousarray(column), row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    tilt = cv2.Sobel(streaks, cv2.CV_32F, 0, 1)
    return streaks, tilt / tilt.std()


def make_ear(head: Head, side: int) -> Ear:
    """Return an ear.

    Args:
        head: of the person.
        side: -1 for the head's right, 1 for its left.
    """
    radius, angle = np.meshgrid(
        np.linspace(0.03, 1, 14), np.linspace(0, 2 * np.pi, 29), indexing="ij"
    )
    taper = 1 - 0.24 * np.clip(-np.sin(angle), 0, 1)
    back, up = -np.cos(angle) * radius * 1.75 * taper, np.sin(angle) * radius * 3.05
    rim = np.exp(-0.5 * ((radius - 0.86) / 0.1) ** 2) * smoothstep(-1.0, -0.4, np.sin(angle))
    fold = np.exp(-0.5 * ((radius - 0.56) / 0.1) ** 2) * smoothstep(0.2, -0.6, np.cos(angle - 2.8))
    bowl = np.exp(-0.5 * (((back - 0.1) / 0.55) ** 2 + ((up + 0.55) / 0.75) ** 2))
    height = 0.35 * rim + 0.28 * fold - 0.55 * bowl - 0.3 * (radius > 0.97)
    back = -back  # towards the back of the head
    flare = 0.42
    out = height + flare * (back + 1.2)
    row = int(np.searchsorted(template().ring, 6.9))
    root = head.points[row, int(np.argmin(np.abs(template().azimuth - side * np.radians(93))))]
    points = np.stack(
        [
            root[0] + side * (out - 0.15),
            root[1] + up - 0.3 + 0.12 * back,
            root[2] - 0.9 - back * 0.92,
        ],
        axis=-1,
    )
    if side < 0:
        points = points[:, ::-1]
        height, bowl, rim = height[:, ::-1], bowl[:, ::-1], rim[:, ::-1]
    tone = np.asarray(head.person.skin) * (0.97, 0.78, 0.75)
    albedo = np.broadcast_to(linear(tone), points.shape)
    shade = np.clip(0.62 + 0.9 * height - 0.5 * bowl, 0.15, 1)
    return Ear(
        points.astype(np.float32),
        np.ascontiguousarray(albedo, np.float32),
        np.ascontiguousarray(shade, np.float32),
    )
