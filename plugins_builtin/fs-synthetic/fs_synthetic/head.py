"""Model the shape of one person's head, at rest and in motion."""

from __future__ import annotations

import attrs
import numpy as np

from fs_synthetic.persons import Move, Person
from fs_synthetic.template import (
    EYE_CENTER,
    LIP_LINE,
    MOUTH_CORNER,
    brow_and_nose_points,
    bump,
    grid_position,
    jaw_positions,
    mirrored,
    smoothstep,
    template,
)

EYE_RADIUS = 1.62
_EYE_DEPTH = 3.5
_HINGE = np.array([0.0, -2.0, -4.5], np.float32)
#: Inner and outer corner of the eye, template x.
EYE_SPAN = (1.8, 5.3)


@attrs.frozen
class Expression:
    """A facial expression. 0 is rest, 1 strong; gaze in radians.

    Attributes:
        jaw: opening of the jaw.
        smile: lip corners out and up.
        pucker: lips forward and together.
        part: upper lip up, lower lip down, showing teeth.
        sulk: lip corners down.
        brow_up: brows raised.
        brow_in: brows drawn together and down.
        blink: per eye (head's right, left) 0 open, 1 shut, below 0 wide.
        squint: lower lids up.
        gaze: (to the head's left, up).
    """

    jaw: float = 0.0
    smile: float = 0.0
    pucker: float = 0.0
    part: float = 0.0
    sulk: float = 0.0
    brow_up: float = 0.0
    brow_in: float = 0.0
    blink: tuple[float, float] = (0.0, 0.0)
    squint: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)


@attrs.frozen(eq=False)
class Head:
    """A person's head at rest, and its possible movements.

    Attributes:
        person: the owner.
        points: ``(rows, columns, 3)`` float32, at rest.
        shapes: per field of `Expression`, ``(rows, columns, 3)`` displacement at strength 1.
        eye_centers: ``(2, 3)`` of the head's right and left eyeball.
        anchors: ``(68, 2)`` grid position (row, column) of the landmarks that stay in place on
            the skin; those of the eyelids are filled in by `landmark_positions`.
    """

    person: Person
    points: np.ndarray
    shapes: dict[str, np.ndarray]
    eye_centers: np.ndarray
    anchors: np.ndarray

    def posed(self, expression: Expression) -> np.ndarray:
        """Return the vertices under an expression, ``(rows, columns, 3)`` float32."""
        points = self.points.copy()
        for name, shape in self.shapes.items():
            strength = getattr(expression, name)
            if strength:
                points += np.float32(strength) * shape
        return points

    def landmark_positions(self, expression: Expression) -> np.ndarray:
        """Return the grid positions (row, column) of all landmarks, ``(68, 2)`` float32."""
        anchors = self.anchors.copy()
        across = np.array([0.0, 0.27, 0.61, 1.0, 0.63, 0.29])
        lids = []
        for side in (-1, 1):
            inward = 1 - across if side < 0 else across
            upper, lower = lid_edges(self.person, expression, side, inward)
            y = np.where(np.arange(6) < 4, upper, lower)
            x = side * (EYE_SPAN[0] + inward * (EYE_SPAN[1] - EYE_SPAN[0]))
            lids.append(np.stack([x, y], axis=1))
        anchors[36:48] = grid_position(np.concatenate(lids))
        return anchors.astype(np.float32)


def lid_edges(
    person: Person, expression: Expression, side: int, inward: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the template y of the upper and lower eyelid's edge.

    Args:
        person: the owner of the eye.
        expression: blink and squint.
        side: -1 for the head's right eye, 1 for its left.
        inward: 0 at the inner corner, 1 at the outer.
    """
    t = np.clip(inward, 0, 1)
    arch = np.sqrt(np.maximum(4 * t * (1 - t), 0))
    upper_arch = arch ** (1.15 + 0.25 * (t - 0.4))
    line = -0.16 + person.eyes.tilt * t
    blink = expression.blink[(side + 1) // 2]
    lower = line - person.eyes.lower * arch**1.3 * (1 - 0.5 * expression.squint)
    open_upper = line + person.eyes.upper * upper_arch * (1 - 0.18 * expression.squint)
    return open_upper + np.clip(blink, -0.3, 0.97) * (lower - open_upper), lower


def make_head(person: Person) -> Head:
    """Return the template, shaped into a person's head."""
    base = template()
    points = base.points.astype(np.float64)
    _widen(points, person)
    points[..., 2] += _relief(person)
    _shape_eye_sockets(points)
    for move in person.moves:
        points += _displacement(move)
    eye_row = grid_position(np.array([[-EYE_CENTER[0], EYE_CENTER[1]], EYE_CENTER]))
    moved = points - base.points
    eyes = np.array([[-EYE_CENTER[0], EYE_CENTER[1], _EYE_DEPTH], [*EYE_CENTER, _EYE_DEPTH]])
    for eye, (row, column) in zip(eyes, np.rint(eye_row).astype(int), strict=True):
        eye[:2] += moved[row, column, :2]
    return Head(
        person=person,
        points=points.astype(np.float32),
        shapes={name: shape.astype(np.float32) for name, shape in _shapes().items()},
        eye_centers=eyes,
        anchors=_anchors(person),
    )


def _displacement(move: Move) -> np.ndarray:
    base = template()
    hill = bump(base.points, *move.at, *move.reach)[..., None]
    by: np.ndarray = np.broadcast_to(np.array(move.by), base.points.shape).copy()
    if move.at[0]:
        by[..., 0] *= np.sign(base.points[..., 0])
    moved: np.ndarray = hill * by
    return moved


def _widen(points: np.ndarray, person: Person) -> None:
    """Scale the width ring by ring: skull, jaw, chin; neck with the jaw."""
    ring = template().ring
    scale = np.interp(
        ring,
        [0, 6, 8.5, 11, 12.3, 14, 16.5, 18],
        [
            person.width,
            person.width,
            (person.width + person.jaw_width) / 2,
            person.jaw_width,
            (person.jaw_width + person.chin_width) / 2,
            person.jaw_width,
            person.jaw_width,
            1.0,
        ],
    )
    points[..., 0] *= scale[:, None]
    chin = bump(template().points, 2.4, -12.3, 1.5, 1.0)
    points[..., 0] *= 1 + (person.chin_width - 1) * chin


def _relief(person: Person) -> np.ndarray:
    """Return the depth of the facial features over the plain head, ``(rows, columns)``."""
    p = template().points
    x, y = np.abs(p[..., 0]), p[..., 1]
    front = smoothstep(-4.0, 0.0, p[..., 2])
    nose = person.nose
    height = np.interp(
        y,
        [-6.6, -5.75, -5.45, -5.15, -4.75, -4.2, -3.4, -1.6, 0.2, 1.5, 2.6],
        np.array([0, 0.1, 0.25, 0.68, 0.94, 1.0, 0.93, 0, 0, 0, 0]) * nose.tip
        + np.array([0, 0, 0, 0, 0, 0, 0, 0.42, 0, 0, 0]) * (nose.tip + nose.bridge)
        + np.array([0, 0, 0, 0, 0, 0, 0, 0.15, 0.85, 0.5, 0.15]) * nose.bridge,
    )
    width = np.interp(
        y,
        [-5.4, -4.4, -3.3, -1.5, 0.5, 2.0],
        np.array([1.0, 1.0, 0.92, 0, 0, 0]) * nose.tip_width
        + np.array([0, 0, 0, 1.1, 1.2, 1.9]) * nose.bridge_width,
    )
    relief = height * np.exp(-(np.abs(x / width) ** 2.0) * 0.7)
    relief += nose.wings * bump(p, 1.45, -4.8, 0.42, 0.5)
    relief += person.brow_ridge * bump(p, 3.0, 1.95, 1.9, 0.75)
    relief += 0.35 * person.brow_ridge * bump(p, 0, 1.9, 1.2, 0.8)
    relief += person.cheekbones * bump(p, 5.3, -2.5, 1.7, 1.3)
    relief += 0.3 * bump(p, 3.4, -3.8, 1.5, 1.5) + 0.25 * bump(p, 1.9, -2.6, 0.9, 1.6)
    relief -= 0.35 * bump(p, 5.4, -6.9, 1.5, 1.7)
    relief += 0.45 * bump(p, 0, -7.3, 2.7, 1.7)
    relief += person.chin * bump(p, 0, -11.5, 1.6, 1.0)
    relief -= 0.35 * bump(p, 0, -9.75, 1.9, 0.5)
    relief += 0.25 * bump(p, 0, 6.0, 3.0, 2.2)
    taper = np.sqrt(np.clip(1 - (x / (MOUTH_CORNER + 0.15)) ** 2, 0, 1))
    above, below = y - LIP_LINE, LIP_LINE - y
    relief += person.upper_lip * taper * np.exp(-0.5 * ((above - 0.36) / 0.32) ** 2)
    relief += person.lower_lip * taper * np.exp(-0.5 * ((below - 0.52) / 0.42) ** 2)
    relief -= 0.3 * np.sqrt(taper) * np.exp(-0.5 * (above / 0.14) ** 2)
    relief -= 0.25 * bump(p, MOUTH_CORNER + 0.1, LIP_LINE, 0.35, 0.35)
    relief -= 0.16 * bump(p, 0, -6.35, 0.28, 0.5)
    relief += 0.1 * bump(p, 0.55, -6.35, 0.22, 0.5)
    fold = np.interp(y, [-8.2, -7.6, -4.9, -4.3], [4.15, 3.95, 2.1, 1.9])
    along = smoothstep(-8.6, -7.2, y) * smoothstep(-4.2, -5.2, y)
    relief -= 0.12 * along * np.exp(-0.5 * ((x - fold) / 0.3) ** 2)
    shown: np.ndarray = relief * front
    return shown


def _shape_eye_sockets(points: np.ndarray) -> None:
    """Sink the sockets and lay the lids over the eyeballs."""
    p = template().points
    points[..., 2] -= 1.15 * bump(p, 3.6, 0.1, 1.5, 0.95)
    points[..., 2] -= 0.4 * bump(p, 1.8, 0.1, 0.55, 0.65)
    x, y = np.abs(p[..., 0]) - EYE_CENTER[0], p[..., 1] - EYE_CENTER[1]
    inside = (EYE_RADIUS + 0.09) ** 2 - (x / 1.12) ** 2 - (1.15 * y) ** 2
    lid = _EYE_DEPTH + np.sqrt(np.maximum(inside, 0))
    softness = 0.12
    front = (p[..., 2] > 0) & (inside > 0)
    blended = np.logaddexp(points[..., 2] / softness, lid / softness) * softness
    points[..., 2] = np.where(front, blended, points[..., 2])


def _shapes() -> dict[str, np.ndarray]:
    base = template()
    p = base.points.astype(np.float64)
    x, y = np.abs(p[..., 0]), p[..., 1]
    below = (np.arange(len(base.ring)) > base.lip_row)[:, None]
    front = smoothstep(-3.0, 1.0, p[..., 2])
    mouth = np.sqrt(np.clip(1 - (x / MOUTH_CORNER) ** 2, 0, 1)) * front

    gradual = smoothstep(-4.8, -9.6, y) * smoothstep(118, 60, np.degrees(np.abs(base.azimuth)))
    gradual *= smoothstep(16.0, 13.0, base.ring)[:, None]
    near_lips = smoothstep(1.7, 0.6, np.abs(y - LIP_LINE))
    weight = gradual * (1 - mouth * np.where(below, 0, 1))
    weight = np.where(below, weight + (1 - weight) * mouth * near_lips, weight)
    arm = p - _HINGE
    jaw = 0.3 * weight[..., None] * np.stack([0 * x, -arm[..., 2], arm[..., 1]], axis=-1)
    jaw[..., 0] -= 0.25 * np.sign(p[..., 0]) * bump(p, MOUTH_CORNER, LIP_LINE, 1.0, 1.0)

    part = np.zeros_like(p)
    lift = mouth * np.exp(-0.5 * ((y - LIP_LINE) / 0.9) ** 2)
    part[..., 1] = np.where(below, -0.5 * lift, 0.38 * lift)
    part[..., 2] = -0.12 * lift
    smile = (
        _displacement(Move((3.5, -7.75), (1.5, 1.35), (0.72, 0.66, -0.5)))
        + _displacement(Move((4.7, -4.3), (1.5, 1.2), (0.15, 0.4, 0.5)))
        + _displacement(Move((4.9, -6.9), (0.8, 1.0), (0.15, 0.15, 0.2)))
        + _displacement(Move((1.6, -4.8), (0.7, 0.6), (0.16, 0.1, 0.0)))
        + _displacement(Move((0.0, -11.4), (1.6, 1.0), (0.0, 0.12, 0.0)))
    )
    fold = np.interp(y, [-8.2, -7.6, -4.9, -4.3], [4.3, 4.0, 2.2, 1.9])
    along = smoothstep(-8.8, -7.2, y) * smoothstep(-4.2, -5.2, y) * front
    smile[..., 2] -= 0.3 * along * np.exp(-0.5 * ((x - fold) / 0.28) ** 2)
    pucker = _displacement(Move((3.35, -7.75), (1.3, 1.2), (-0.95, 0.0, 0.3)))
    pucker += _displacement(Move((0.0, -7.75), (1.7, 1.0), (0.0, 0.0, 0.75)))
    sulk = _displacement(Move((3.4, -7.9), (1.1, 1.0), (0.05, -0.55, 0.0)))
    sulk += _displacement(Move((0.0, -8.6), (1.6, 0.8), (0.0, 0.15, 0.1)))
    brow_up = _displacement(Move((4.2, 2.7), (2.4, 1.15), (0.0, 0.85, 0.05)))
    brow_up += _displacement(Move((1.6, 2.5), (1.3, 1.1), (0.0, 0.35, 0.0)))
    brow_in = _displacement(Move((1.7, 2.1), (1.1, 0.9), (-0.35, -0.42, 0.12)))
    brow_in += _displacement(Move((4.0, 2.3), (1.5, 0.9), (-0.05, -0.25, 0.0)))
    return {
        "jaw": jaw,
        "part": part,
        "smile": smile,
        "pucker": pucker,
        "sulk": sulk,
        "brow_up": brow_up,
        "brow_in": brow_in,
    }


def _anchors(person: Person) -> np.ndarray:
    base = template()
    anchors = np.zeros((68, 2))
    anchors[:17] = jaw_positions()
    anchors[17:36] = grid_position(brow_and_nose_points(person.brows.lift))
    upper = [[-MOUTH_CORNER, LIP_LINE], [-1.75, -7.16], [-0.7, -6.92]]
    lower = [[-0.85, -9.0], [-1.95, -8.72]]
    outer = [*upper, [0, -7.06], *mirrored(upper), *mirrored(lower), [0, -9.07], *lower]
    anchors[48:60] = grid_position(np.array(outer))
    inner_x = [-3.0, -1.1, 0.0, 1.1, 3.0, 1.1, 0.0, -1.1]
    inner = grid_position(np.array([[x, LIP_LINE] for x in inner_x]))
    inner[:5, 0] = base.lip_row
    inner[5:, 0] = base.lip_row + 1
    anchors[60:] = inner
    return anchors
