"""Define the people that are drawn: everything that distinguishes them."""

from __future__ import annotations

import attrs

Color = tuple[float, float, float]


@attrs.frozen
class Move:
    """A local change of shape: vertices around a place of the template move.

    Attributes:
        at: x, y of the place, mirrored to both sides if x is not 0.
        reach: Gaussian sigma in x and y.
        by: x (outwards), y, z in head units.
    """

    at: tuple[float, float]
    reach: tuple[float, float]
    by: tuple[float, float, float]


@attrs.frozen
class Eyes:
    """Eye openings and irises.

    Attributes:
        upper, lower: how far the lids stand above and below the line between the corners.
        tilt: how much higher the outer corner is.
        iris, iris_edge: colors.
        crease: distance from the upper lid's edge to its fold.
    """

    upper: float
    lower: float
    tilt: float
    iris: Color
    iris_edge: Color
    crease: float


@attrs.frozen
class Brows:
    """Eyebrows: lift above the template's, thickness in head units, share of hairs, color."""

    lift: float
    thickness: float
    density: float
    color: Color


@attrs.frozen
class Nose:
    """Relief of the nose in head units."""

    bridge: float
    tip: float
    bridge_width: float
    tip_width: float
    wings: float


@attrs.frozen
class Hair:
    """A cap of hair ("short"), or hair that falls to the shoulders ("long").

    Attributes:
        style: "short" or "long".
        color: of the strands.
        variation: of brightness between strands.
        hairline: template y where hair begins in the middle of the forehead.
    """

    style: str
    color: Color
    variation: float
    hairline: float


@attrs.frozen
class Person:
    """One person. Colors are sRGB, 0..1, red first; lengths are head units.

    Attributes:
        name: keys the randomness of skin and hair.
        width, jaw_width, chin_width: relative to the template.
        nose, eyes, brows, hair: the parts.
        brow_ridge, cheekbones, upper_lip, lower_lip, chin: how far they stand out.
        skin, lips, cloth: colors.
        blush: redness of cheeks and nose, about 0..1.
        stubble: density of the shaven beard, 0..1.
        freckles: number of freckles.
        gloss: of the skin, 1 is usual.
        moves: further changes of shape.
    """

    name: str
    width: float
    jaw_width: float
    chin_width: float
    nose: Nose
    eyes: Eyes
    brows: Brows
    hair: Hair
    brow_ridge: float
    cheekbones: float
    upper_lip: float
    lower_lip: float
    chin: float
    skin: Color
    blush: float
    lips: Color
    stubble: float
    freckles: int
    gloss: float
    cloth: Color
    moves: tuple[Move, ...] = ()


MARTIN = Person(
    name="A",
    width=1.0,
    jaw_width=1.03,
    chin_width=1.06,
    nose=Nose(bridge=1.0, tip=2.65, bridge_width=0.7, tip_width=1.12, wings=1.0),
    eyes=Eyes(
        upper=0.66,
        lower=0.4,
        tilt=0.05,
        iris=(0.33, 0.2, 0.1),
        iris_edge=(0.12, 0.07, 0.04),
        crease=0.28,
    ),
    brows=Brows(lift=-0.15, thickness=0.4, density=0.85, color=(0.1, 0.075, 0.06)),
    hair=Hair(style="short", color=(0.125, 0.085, 0.06), variation=0.35, hairline=7.6),
    brow_ridge=0.75,
    cheekbones=0.35,
    upper_lip=0.32,
    lower_lip=0.44,
    chin=0.65,
    skin=(0.79, 0.6, 0.48),
    blush=0.55,
    lips=(0.7, 0.44, 0.39),
    stubble=0.75,
    freckles=0,
    gloss=1.0,
    cloth=(0.16, 0.21, 0.3),
    moves=(
        Move(at=(6.6, -8.8), reach=(1.8, 2.0), by=(0.3, -0.3, 0.0)),
        Move(at=(0.0, -12.2), reach=(2.6, 1.4), by=(0.0, -0.5, 0.2)),
        Move(at=(3.35, -7.75), reach=(1.3, 1.2), by=(0.1, -0.05, 0.0)),
        Move(at=(0.0, -7.0), reach=(1.7, 0.45), by=(0.0, 0.2, 0.1)),
        Move(at=(0.0, -9.0), reach=(1.6, 0.5), by=(0.0, -0.2, 0.1)),
        Move(at=(4.4, 2.8), reach=(1.5, 0.7), by=(0.0, -0.35, 0.0)),
    ),
)

CLARA = Person(
    name="B",
    width=0.95,
    jaw_width=0.93,
    chin_width=0.86,
    nose=Nose(bridge=0.55, tip=2.1, bridge_width=0.66, tip_width=0.92, wings=0.62),
    eyes=Eyes(
        upper=0.78,
        lower=0.5,
        tilt=0.2,
        iris=(0.36, 0.52, 0.5),
        iris_edge=(0.12, 0.2, 0.22),
        crease=0.24,
    ),
    brows=Brows(lift=0.2, thickness=0.27, density=0.8, color=(0.36, 0.2, 0.12)),
    hair=Hair(style="long", color=(0.42, 0.2, 0.1), variation=0.4, hairline=7.2),
    brow_ridge=0.3,
    cheekbones=0.6,
    upper_lip=0.4,
    lower_lip=0.5,
    chin=0.4,
    skin=(0.92, 0.76, 0.67),
    blush=0.8,
    lips=(0.76, 0.36, 0.35),
    stubble=0.0,
    freckles=420,
    gloss=0.8,
    cloth=(0.52, 0.5, 0.44),
    moves=(
        Move(at=(0.0, -12.0), reach=(2.2, 1.4), by=(0.0, 0.55, 0.0)),
        Move(at=(0.0, -4.4), reach=(1.3, 1.0), by=(0.0, 0.35, 0.0)),
        Move(at=(0.0, -7.75), reach=(2.4, 1.1), by=(0.0, 0.15, 0.0)),
        Move(at=(3.35, -7.75), reach=(1.2, 1.2), by=(-0.2, 0.0, 0.1)),
        Move(at=(5.6, -7.5), reach=(1.6, 2.0), by=(-0.25, 0.0, -0.1)),
        Move(at=(3.55, 0.0), reach=(1.6, 1.2), by=(0.12, 0.0, 0.0)),
    ),
)
