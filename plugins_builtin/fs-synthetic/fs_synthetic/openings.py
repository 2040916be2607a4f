"""Draw what shows through the openings of a head: eyeballs and teeth.

For each pixel, rays are intersected with spheres and cylinders in the head's own axes.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from fs_synthetic.head import EYE_RADIUS, EYE_SPAN, Expression, Head, lid_edges
from fs_synthetic.scene import Camera
from fs_synthetic.skin import linear
from fs_synthetic.template import MOUTH_CORNER, smoothstep

_IRIS = 0.69
_PUPIL = 0.27
_ARCH = np.array([4.6, 5.0])  # half axes of the dental arch in x and z
_ARCH_CENTER = 0.5


@attrs.define(eq=False)
class Surface:
    """The surfaces that n pixels show, before lighting.

    Attributes:
        albedo: ``(n, 3)`` linear RGB.
        normal: ``(n, 3)`` in the head's own axes.
        gloss: ``(n,)`` strength of the highlight.
        polish: ``(n,)`` 0 for skin's broad highlight, 1 for a wet, sharp one.
        occlusion: ``(n,)`` 1 where the surroundings are open, 0 where no light arrives.
    """

    albedo: np.ndarray
    normal: np.ndarray
    gloss: np.ndarray
    polish: np.ndarray
    occlusion: np.ndarray

    def blend(self, at: np.ndarray, alpha: np.ndarray, other: Surface) -> None:
        """Blend ``other`` (of ``len(at)`` pixels) over the pixels ``at``."""
        for field in attrs.fields(Surface):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            share = alpha if mine.ndim == 1 else alpha[:, None]
            mine[at] += share * (theirs - mine[at])


def add_eyes(
    surface: Surface,
    head: Head,
    expression: Expression,
    camera: Camera,
    template_xy: np.ndarray,
    frame_xy: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Draw the eyes between the lids.

    Args:
        surface: of the head's pixels; changed in place.
        head: of the person.
        expression: blink, squint and gaze.
        camera: of the picture.
        template_xy: ``(n, 2)`` template position at each pixel; x is nan behind the face.
        frame_xy: returns the ``(m, 2)`` frame pixels of the chosen of the n pixels.
    """
    for side in (-1, 1):
        x, y = template_xy[:, 0] * side, template_xy[:, 1]
        low, high = EYE_SPAN[0] - 0.3, EYE_SPAN[1] + 0.3
        near = np.flatnonzero((x > low) & (x < high) & (np.abs(y) < 1.6))
        if not len(near):
            continue
        x, y = x[near], y[near]
        inward = (x - EYE_SPAN[0]) / (EYE_SPAN[1] - EYE_SPAN[0])
        upper, lower = lid_edges(head.person, expression, side, inward)
        within = smoothstep(-0.02, 0.03, inward) * smoothstep(1.02, 0.97, inward)
        gap = smoothstep(0.02, 0.12, upper - lower)
        alpha = smoothstep(0.04, -0.04, y - upper) * smoothstep(-0.05, 0.04, y - lower)
        eye = _eyeball(head, side, expression, camera, frame_xy(near), inward)
        lid_shade = smoothstep(-0.1, 0.5, upper - y) * smoothstep(-0.2, 0.15, y - lower)
        eye.occlusion *= 0.3 + 0.7 * lid_shade
        surface.blend(near, alpha * within * gap, eye)
        longest = 0.075 if head.person.stubble else 0.11
        thick = longest * (0.55 + 0.6 * np.clip(inward, 0, 1))
        lash = np.exp(-0.5 * ((y - upper - 0.03) / thick) ** 2)
        lash = 0.92 * lash + 0.35 * np.exp(-0.5 * ((y - lower + 0.03) / 0.06) ** 2)
        lash *= smoothstep(-0.03, 0.12, inward) * smoothstep(1.09, 0.97, inward)
        dark = np.array([0.012, 0.007, 0.005])
        lash = np.clip(lash, 0, 0.95)
        surface.albedo[near] += lash[:, None] * (dark - surface.albedo[near])
        surface.gloss[near] *= 1 - lash


def _eyeball(
    head: Head,
    side: int,
    expression: Expression,
    camera: Camera,
    frame_xy: np.ndarray,
    inward: np.ndarray,
) -> Surface:
    origin, direction = camera.rays(frame_xy)
    offset = origin - head.eye_centers[(side + 1) // 2]
    half = direction @ offset
    discriminant = half**2 - (offset @ offset - (EYE_RADIUS - 0.06) ** 2)
    hit = discriminant > 0
    distance = -half - np.sqrt(np.maximum(discriminant, 0))
    normal = (offset + distance[:, None] * direction) / EYE_RADIUS
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    left, up = expression.gaze
    left -= 0.04 * side  # both eyes look at something near
    gaze = np.array([np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up)])
    across = np.cross([0.0, 1.0, 0.0], gaze)
    across /= np.linalg.norm(across)
    u, v = normal @ across, normal @ np.cross(gaze, across)
    radius = np.hypot(u, v) * EYE_RADIUS
    radius = np.where(normal @ gaze > 0, radius, 9.0)
    angle = np.arctan2(v, u)
    eyes = head.person.eyes
    fibres = 1 + 0.16 * np.sin(23 * angle + 2 * np.sin(5 * angle)) + 0.1 * np.sin(41 * angle + 1)
    ring = smoothstep(_PUPIL, _IRIS, radius)
    iris = linear(eyes.iris) * (fibres * (1.25 - 0.35 * ring))[:, None]
    edge = smoothstep(0.52, 0.69, radius)[:, None]
    iris = iris + edge * (linear(eyes.iris_edge) - iris)
    iris = iris * smoothstep(_PUPIL - 0.04, _PUPIL + 0.05, radius)[:, None] + 0.004
    red = np.clip(0.1 + 1.6 * np.abs(inward - 0.5) ** 2, 0, 1)[:, None]
    white = linear((0.86, 0.83, 0.81)) * (1 - red * np.array([0.06, 0.35, 0.35]))
    albedo = white + smoothstep(0.75, 0.66, radius)[:, None] * (iris - white)
    flesh = smoothstep(0.1, 0.02, inward)
    flesh = np.where(hit, flesh, 1.0)[:, None]
    albedo = albedo + flesh * (linear((0.72, 0.42, 0.4)) - albedo)
    cornea = smoothstep(0.95, 0.4, radius)[:, None]
    bulged = normal + 0.8 * cornea * (normal - gaze)
    bulged /= np.linalg.norm(bulged, axis=1, keepdims=True)
    one = np.ones(len(inward))
    return Surface(
        albedo=albedo,
        normal=bulged,
        gloss=0.6 + 1.2 * cornea[:, 0],
        polish=one.copy(),
        occlusion=one * (0.75 + 0.25 * smoothstep(0.0, 0.3, inward) * smoothstep(1.0, 0.8, inward)),
    )


def add_mouth(
    surface: Surface,
    head: Head,
    expression: Expression,
    camera: Camera,
    across: np.ndarray,
    depth: np.ndarray,
    frame_xy: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Draw the mouth between the lips.

    Args:
        surface: of the head's pixels; changed in place.
        head: of the person.
        expression: opening of the jaw.
        camera: of the picture.
        across: ``(n,)`` template x at each pixel.
        depth: ``(n,)`` 0 at the upper lip's inner edge, 1 at the lower's, else nan.
        frame_xy: returns the ``(m, 2)`` frame pixels of the chosen of the n pixels.
    """
    near = np.flatnonzero(np.isfinite(depth) & (np.abs(across) < MOUTH_CORNER))
    if not len(near):
        return
    opening = expression.jaw * 2.6 + expression.part * 0.85
    origin, direction = camera.rays(frame_xy(near))
    flat_o, flat_d = origin[[0, 2]] - [0, _ARCH_CENTER], direction[:, [0, 2]]
    flat_o, flat_d = flat_o / _ARCH, flat_d / _ARCH
    a, half = (flat_d**2).sum(1), flat_d @ flat_o
    root = half**2 - a * (flat_o @ flat_o - 1)
    point = origin + ((-half - np.sqrt(np.maximum(root, 0))) / a)[:, None] * direction
    x, y = point[:, 0], point[:, 1]
    normal = np.stack([x / _ARCH[0] ** 2, 0 * x, (point[:, 2] - _ARCH_CENTER) / _ARCH[1] ** 2], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    along = np.arcsin(np.clip(x / _ARCH[0], -1, 1)) * _ARCH[0]
    scallop = np.abs(np.sin(np.pi * along / 0.92))
    upper_edge = -8.3 + 0.1 * np.abs(along) ** 1.2 * 0.5 - 0.07 * scallop**0.5
    lower_edge = -8.3 - 2.75 * expression.jaw - 0.42 * expression.part + 0.05 * scallop**0.5
    upper = smoothstep(-0.05, 0.05, y - upper_edge)
    lower = smoothstep(0.05, -0.05, y - lower_edge)
    teeth = np.where(root > 0, np.maximum(upper, lower * 0.92), 0.0)
    gaps = smoothstep(0.0, 0.22, scallop)
    enamel = linear((0.88, 0.84, 0.76)) * (0.55 + 0.45 * gaps)[:, None]
    inside = smoothstep(0.2, 1.0, depth[near])[:, None] * linear((0.42, 0.16, 0.15))
    albedo = linear((0.13, 0.04, 0.04)) + 0.6 * inside
    albedo = albedo + teeth[:, None] * (enamel - albedo)
    corner = smoothstep(1.0, 0.45, np.abs(across[near]) / MOUTH_CORNER)
    below_lip = smoothstep(-0.15, 0.85, depth[near] * np.maximum(opening, 0.3))
    occlusion = (0.2 + 0.8 * corner) * (0.4 + 0.6 * below_lip) * (0.5 + 0.5 * teeth)
    mouth = Surface(albedo, normal, 0.7 * teeth, np.ones(len(x)), occlusion)
    surface.blend(near, np.full(len(near), float(smoothstep(0.05, 0.3, opening))), mouth)
