"""Paint the skin of a person: textures at the template's texels."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
from fs_kernel.randomness import generator

from fs_synthetic.head import EYE_SPAN
from fs_synthetic.persons import Color, Person
from fs_synthetic.template import (
    LIP_LINE,
    MOUTH_CORNER,
    TEXELS,
    brow_and_nose_points,
    bump,
    grid_position,
    jaw_limit,
    smoothstep,
    template,
)


@attrs.frozen(eq=False)
class Skin:
    """Textures of the head grid, all ``(th, tw[, 3])`` float32.

    Attributes:
        albedo: linear light, RGB.
        gloss: strength of the highlight, 0..1.
        relief: small changes of the normal, x and y in the head's frame.
        face: 1 where a face mask belongs: skin of the face below the hairline.
    """

    albedo: np.ndarray
    gloss: np.ndarray
    relief: np.ndarray
    face: np.ndarray


def linear(color: Color | np.ndarray) -> np.ndarray:
    """Return sRGB 0..1 as linear light (IEC 61966-2-1)."""
    c = np.asarray(color, np.float32)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]
) -> np.ndarray:
    """Return smooth noise of mean 0, deviation about 1 and features of ``cell`` (y, x) pixels."""
    coarse = (max(2, round(shape[0] / cell[0])), max(2, round(shape[1] / cell[1])))
    values = rng.standard_normal(coarse, np.float32)
    smooth = cv2.resize(values, shape[::-1], interpolation=cv2.INTER_CUBIC)
    scaled: np.ndarray = smooth / smooth.std()
    return scaled


def lip_edges(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the template y of the outer edge of the upper and the lower lip at ``|x|``."""
    upper = np.interp(x, [0, 0.3, 0.7, 1.75, 2.7, 3.35], [-7.06, -6.99, -6.92, -7.16, -7.5, -7.75])
    lower = np.interp(x, [0, 0.85, 1.95, 2.8, 3.35], [-9.07, -9.0, -8.7, -8.2, -7.75])
    return upper, lower


def paint_skin(person: Person) -> Skin:
    """Return the painted skin, lips, brows and clothes of a person."""
    base = template()
    p = base.texel_points
    shape = p.shape[:2]
    rng = generator(0, "people", person.name, "skin")
    canvas = _Canvas(np.broadcast_to(np.asarray(person.skin, np.float32), (*shape, 3)).copy())
    _complexion(canvas, person, rng)
    on_face = smoothstep(14.0, 12.8, base.texel_ring)
    grain = 0.016 * noise(rng, shape, (5, 5)) + 0.02 * rng.standard_normal(shape, np.float32)
    canvas.color *= (1 + grain * (0.25 + 0.75 * on_face))[..., None]
    _freckles(canvas, person, rng)
    _stubble(canvas, person, rng)
    on_lips, creases = _lips(canvas, person, rng)
    _nostrils(canvas, person)
    _lid_lines(canvas, person)
    _brows(canvas, person, rng)
    cloth = _clothes(canvas, person, rng)

    gloss = 0.42 + 0.3 * bump(p, 0, -3.4, 1.2, 2.0) + 0.22 * bump(p, 0, 5.0, 3.5, 2.0)
    gloss = gloss + 0.2 * bump(p, 4.6, -2.4, 1.5, 1.0)
    gloss = gloss * (1 + 0.12 * noise(rng, shape, (4, 4))) + 0.35 * on_lips
    pores = noise(rng, shape, (3, 3)) * 0.5 + noise(rng, shape, (7, 7)) * 0.5
    height = 0.0085 * pores * (1 - on_lips) * on_face + 0.1 * creases * on_lips
    height += 0.02 * noise(rng, shape, (7, 90)) * bump(p, 0, 5.5, 5, 2.5) * person.stubble
    height = height.astype(np.float32)
    relief = [-cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)]
    return Skin(
        albedo=linear(np.clip(canvas.color, 0.01, 1)),
        gloss=(gloss * person.gloss * (1 - cloth)).astype(np.float32),
        relief=(np.stack(relief, -1) * TEXELS * 0.25 * (1 - cloth[..., None])).astype(np.float32),
        face=_face_region(person),
    )


class _Canvas:
    """A texture ``(th, tw, 3)`` being painted, sRGB."""

    def __init__(self, color: np.ndarray) -> None:
        self.color = color

    def mix(self, target: Color | np.ndarray, share: np.ndarray) -> None:
        """Paint with a color, opaque where ``share (th, tw)`` is 1."""
        share = np.clip(share, 0, 1).astype(np.float32)[..., None]
        self.color += (np.asarray(target, np.float32) - self.color) * share


def _complexion(canvas: _Canvas, person: Person, rng: np.random.Generator) -> None:
    """Paint the areas where skin is redder, yellower or darker."""
    p = template().texel_points
    shape = p.shape[:2]
    skin = np.asarray(person.skin)
    mottle = noise(rng, shape, (34, 30)) * 0.5 + noise(rng, shape, (11, 10)) * 0.5
    blush = 0.9 * bump(p, 4.7, -3.7, 1.9, 1.6) + 0.55 * bump(p, 0, -4.3, 1.3, 1.0)
    blush = blush + 0.45 * bump(p, 0, -11.6, 1.6, 1.0) + 0.4 * bump(p, 1.4, -4.9, 0.6, 0.6)
    canvas.mix(skin * (0.98, 0.74, 0.72), person.blush * (0.62 * blush + 0.12 + 0.09 * mottle))
    canvas.mix(skin * (1.0, 0.97, 0.86), 0.4 * bump(p, 0, 5.5, 5, 2.5))
    under_eyes = 0.5 * bump(p, 3.2, -0.95, 1.4, 0.45) + 0.45 * bump(p, 1.9, -0.1, 0.5, 0.6)
    canvas.mix(skin * (0.72, 0.62, 0.66), under_eyes)
    canvas.mix(skin * (0.8, 0.64, 0.6), 0.5 * bump(p, 3.7, 0.75, 1.5, 0.4))


def _lips(
    canvas: _Canvas, person: Person, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paint the lips; return their area and the pattern of their creases."""
    p = template().texel_points
    x, y = np.abs(p[..., 0]), p[..., 1]
    front = smoothstep(-4.0, 0.0, p[..., 2])
    upper, lower = lip_edges(x)
    ragged = 0.03 * noise(rng, x.shape, (8, 4))
    on_lips = smoothstep(0.1, -0.07, y - upper + ragged)
    on_lips = on_lips * smoothstep(-0.12, 0.08, y - lower + ragged)
    on_lips = on_lips * smoothstep(MOUTH_CORNER + 0.1, MOUTH_CORNER - 0.35, x) * front
    creases = 0.035 * noise(rng, x.shape, (30, 3.5))
    lip = np.asarray(person.lips, np.float32) * (1 + creases)[..., None]
    canvas.mix(lip * np.where(y > LIP_LINE, 0.88, 1.04)[..., None], 0.9 * on_lips)
    seam = np.exp(-0.5 * ((y - LIP_LINE) / 0.075) ** 2) * smoothstep(3.75, 3.2, x) * front
    canvas.mix((0.2, 0.07, 0.06), 0.85 * seam)
    return on_lips, creases


def _nostrils(canvas: _Canvas, person: Person) -> None:
    """Paint the nostrils and the crease around the wings of the nose."""
    p = template().texel_points
    x, y = np.abs(p[..., 0]), p[..., 1]
    front = smoothstep(-4.0, 0.0, p[..., 2])
    skin = np.asarray(person.skin)
    nostril = ((x - 0.82) / 0.4) ** 2 + ((y + 5.3 - 0.12 * (x - 0.8)) / 0.15) ** 2
    canvas.mix(skin * 0.16, 0.85 * smoothstep(1.7, 0.3, nostril) * front)
    wing = np.sqrt(((x - 1.5) / 0.85) ** 2 + ((y + 4.8) / 0.75) ** 2)
    canvas.mix(skin * (0.72, 0.62, 0.66), 0.4 * np.exp(-12 * (wing - 1) ** 2) * (x > 1.3) * front)


def _freckles(canvas: _Canvas, person: Person, rng: np.random.Generator) -> None:
    """Scatter freckles over nose, cheeks and forehead."""
    spots = np.stack(
        [rng.normal(0, 3.0, person.freckles), rng.normal(-2.9, 1.7, person.freckles)], axis=1
    )
    spots = spots[(np.abs(spots[:, 0]) < 7) & (spots[:, 1] < 6) & (spots[:, 1] > -6.6)]
    if not len(spots):
        return
    layer = np.zeros(canvas.color.shape[:2], np.float32)
    for row, column in grid_position(spots):
        center = (round(column * TEXELS * 8), round(row * TEXELS * 8))
        radius = round(rng.uniform(4, 13))
        cv2.circle(layer, center, radius, float(rng.uniform(0.2, 0.75)), -1, cv2.LINE_AA, 3)
    soft = cv2.GaussianBlur(layer, (0, 0), 0.7)
    canvas.mix(np.asarray(person.skin) * (0.76, 0.6, 0.5), soft)


def _stubble(canvas: _Canvas, person: Person, rng: np.random.Generator) -> None:
    """Shade and dot the beard area."""
    base = template()
    p = base.texel_points
    x, y = np.abs(p[..., 0]), p[..., 1]
    ring, degrees = base.texel_ring, np.abs(np.degrees(base.texel_azimuth))
    line = np.interp(x, [0, 2.2, 3.6, 5.0, 6.5, 8.0], [-5.9, -6.1, -7.3, -7.3, -5.6, -2.0])
    soft = 0.45 * noise(rng, x.shape, (20, 20))
    area = smoothstep(0.9, -1.3, y - line + soft) * smoothstep(14.2, 12.9, ring)
    area = area * smoothstep(88, 80, degrees)
    area = area * (1 - 0.7 * bump(p, 1.3, -9.6, 0.5, 0.4)) * (1 - 0.6 * bump(p, 0, -6.3, 0.25, 0.6))
    area = area * person.stubble
    dots = (rng.random(x.shape, np.float32) < 0.3).astype(np.float32)
    dots = cv2.GaussianBlur(dots, (0, 0), 0.6)
    share = area * (0.26 + 0.42 * dots)
    canvas.mix(np.asarray(person.skin) * (0.4, 0.4, 0.44), share)


def _lid_lines(canvas: _Canvas, person: Person) -> None:
    """Paint the fold above the upper eyelid, and its shade."""
    p = template().texel_points
    x, y = np.abs(p[..., 0]), p[..., 1]
    inward = (x - EYE_SPAN[0]) / (EYE_SPAN[1] + 0.25 - EYE_SPAN[0])
    arch = np.sqrt(np.clip(4 * inward * (1 - inward), 0, 1))
    eyes = person.eyes
    fold = -0.16 + eyes.tilt * inward + (eyes.upper + eyes.crease) * arch**0.9 + 0.06
    inside = smoothstep(0.02, 0.2, inward) * smoothstep(1.05, 0.8, inward) * (p[..., 2] > 0)
    line = 0.55 * np.exp(-0.5 * ((y - fold) / 0.07) ** 2) * inside
    bag = -0.16 + eyes.tilt * inward - (eyes.lower + 0.38) * arch
    line = line + 0.2 * np.exp(-0.5 * ((y - bag) / 0.1) ** 2) * inside
    canvas.mix(np.asarray(person.skin) * (0.5, 0.36, 0.34), line)


def _brows(canvas: _Canvas, person: Person, rng: np.random.Generator) -> None:
    """Draw the brows hair by hair."""
    spine = brow_and_nose_points(person.brows.lift)[:5]
    count = int(420 * person.brows.density)
    t = rng.beta(1.15, 1.0, count)  # 0 at the temple, 1 at the nose
    at = np.interp(t, np.linspace(0, 1, 5), np.arange(5))
    low = np.clip(at.astype(int), 0, 3)
    point = spine[low] + (spine[low + 1] - spine[low]) * (at - low)[:, None]
    thick = person.brows.thickness * np.interp(t, [0, 0.35, 0.8, 1], [0.3, 0.85, 1.1, 0.85])
    point[:, 1] += rng.uniform(-0.5, 0.5, count) * thick - 0.03
    lean = np.interp(t, [0, 0.6, 0.9, 1], [200, 172, 125, 95]) + rng.normal(0, 11, count)
    length = rng.uniform(0.4, 0.8, count) * np.interp(t, [0, 0.5, 1], [0.8, 1.1, 0.8])
    tip = point + length[:, None] * np.stack(
        [np.cos(np.radians(lean)), np.sin(np.radians(lean))], axis=1
    )
    layer = np.zeros(canvas.color.shape[:2], np.float32)
    for side in (-1, 1):
        ends = [grid_position(q * [-side, 1]) * TEXELS * 16 for q in (point, tip)]
        for start, end, alpha in zip(*ends, rng.uniform(0.35, 0.9, count), strict=True):
            a, b = (tuple(np.rint(e[::-1]).astype(int).tolist()) for e in (start, end))
            cv2.line(layer, a, b, float(alpha), 1, cv2.LINE_AA, 4)
    body = cv2.GaussianBlur(layer, (0, 0), 3.0)
    canvas.mix(person.brows.color, np.clip(0.85 * layer + 0.75 * body, 0, 0.95))


def _clothes(canvas: _Canvas, person: Person, rng: np.random.Generator) -> np.ndarray:
    """Paint a shirt from the collar down; return its area."""
    base = template()
    front = np.cos(base.texel_azimuth)
    collar = 16.75 + (0.75 if person.hair.style == "long" else 0.25) * front**3 * (front > 0)
    cloth = smoothstep(-0.03, 0.03, base.texel_ring - collar).astype(np.float32)
    hem = np.exp(-0.5 * ((base.texel_ring - collar - 0.16) / 0.03) ** 2)
    shape = cloth.shape
    weave = 1 + 0.05 * rng.standard_normal(shape, np.float32) + 0.09 * noise(rng, shape, (60, 18))
    weave = weave * (1 - 0.35 * hem)
    canvas.mix(np.asarray(person.cloth, np.float32) * weave[..., None], cloth)
    return cloth


def _face_region(person: Person) -> np.ndarray:
    base = template()
    limit = jaw_limit(base.texel_ring)
    inside = smoothstep(1.0, -1.0, np.abs(np.degrees(base.texel_azimuth)) - limit)
    return (inside * (base.texel_points[..., 1] < person.hair.hairline)).astype(np.float32)
