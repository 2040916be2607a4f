"""Sample what varies between pictures: pose, camera, expression, light, background."""

from __future__ import annotations

import attrs
import cv2
import numpy as np

from fs_synthetic.head import Expression

FRAME_HEIGHT, FRAME_WIDTH = 720, 1280
#: The point the head turns about: the top of the neck.
_PIVOT = np.array([0.0, -9.0, -5.0], np.float32)


@attrs.frozen(eq=False)
class Camera:
    """A pinhole camera and the pose of the head before it.

    World axes are those of the head at rest, camera on the z axis.

    Attributes:
        rotation: ``(3, 3)`` of the head.
        body_rotation: ``(3, 3)`` of the shoulders.
        distance: from the camera to the origin, head units.
        scale: frame pixels per head unit at the origin.
        center: ``(x, y)`` frame pixels of the origin.
    """

    rotation: np.ndarray
    body_rotation: np.ndarray
    distance: float
    scale: float
    center: np.ndarray

    def turn(self, vectors: np.ndarray) -> np.ndarray:
        """Return directions ``(rows, columns, 3)`` float32 of the head in the world."""
        return cv2.transform(vectors, self.rotation)

    def place(self, points: np.ndarray, body: np.ndarray | None = None) -> np.ndarray:
        """Return head points ``(rows, columns, 3)`` float32 in the world.

        Args:
            points: in the head's own axes.
            body: 1 where points follow the shoulders, 0 (or None) with the head.
        """
        arm = points - _PIVOT
        head = cv2.transform(arm, self.rotation)
        if body is not None:
            head += body * (cv2.transform(arm, self.body_rotation) - head)
        return head + _PIVOT

    def project(self, world: np.ndarray) -> np.ndarray:
        """Return world points ``(..., 3)`` as frame pixels ``(..., 2)``."""
        zoom = self.scale * self.distance / (self.distance - world[..., 2])
        return np.stack(
            [self.center[0] + zoom * world[..., 0], self.center[1] - zoom * world[..., 1]], axis=-1
        )

    def rays(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rays through frame pixels ``(n, 2)`` in the head's axes: origin, directions."""
        flat = (xy - self.center) / self.scale
        directions = np.stack([flat[:, 0], -flat[:, 1], np.full(len(xy), -self.distance)], axis=1)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        origin = (np.array([0, 0, self.distance]) - _PIVOT) @ self.rotation + _PIVOT
        return origin, directions @ self.rotation


@attrs.frozen(eq=False)
class Light:
    """Light on a scene; everything float32, colors linear RGB.

    Attributes:
        key: ``(3,)`` unit vector towards the main light, and its color.
        fill: ``(3,)`` unit vector towards a weaker light that casts no shadow, and its color.
        sky: light from above; ``ground``: light from below.
        softness: of the key's shadows, head units.
    """

    key: np.ndarray
    key_color: np.ndarray
    fill: np.ndarray
    fill_color: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    softness: float


@attrs.frozen(eq=False)
class Scene:
    """Everything that varies between pictures.

    Attributes:
        camera, light, expression: of the picture.
        background: ``(h, w, 3)`` float32 linear RGB, a small picture stretched over the frame.
        blur: sigma in pixels of a 256-pixel picture.
        noise: deviation of the sensor noise, 0..1 of sRGB.
    """

    camera: Camera
    light: Light
    expression: Expression
    background: np.ndarray
    blur: float
    noise: float


def sample_scene(rng: np.random.Generator) -> Scene:
    """Return a scene drawn at random."""
    light = _light(rng)
    return Scene(
        camera=_camera(rng),
        light=light,
        expression=_expression(rng),
        background=_background(rng, light),
        blur=float(rng.uniform(0.25, 0.8)),
        noise=float(rng.uniform(0.003, 0.012)),
    )


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return a ``(3, 3)`` rotation of degrees: yaw to the head's left, pitch up, roll clockwise."""
    y, p, r = np.radians([yaw, -pitch, -roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    rotation: np.ndarray = tilt @ nod @ turn
    return rotation


def _camera(rng: np.random.Generator) -> Camera:
    yaw = float(np.clip(rng.normal(0, 19), -42, 42))
    pitch = float(np.clip(rng.normal(0, 8), -20, 18))
    roll = float(np.clip(rng.normal(0, 7), -20, 20))
    body_yaw = yaw * rng.uniform(0.1, 0.6) + rng.normal(0, 5)
    return Camera(
        rotation=rotation(yaw, pitch, roll),
        body_rotation=rotation(body_yaw, 0.15 * pitch, 0.1 * roll),
        distance=float(rng.uniform(75, 130)),
        scale=float(rng.uniform(7.0, 13.0)),
        center=np.array([rng.uniform(480, 800), rng.uniform(300, 400)]),
    )


def _expression(rng: np.random.Generator) -> Expression:
    def sometimes(chance: float, low: float, high: float) -> float:
        strength = rng.uniform(low, high)
        return float(strength) if rng.random() < chance else 0.0

    smile = sometimes(0.45, 0.25, 1.1)
    jaw = sometimes(0.4, 0.08, 0.85)
    part = sometimes(0.4, 0.2, 0.9) if smile or jaw else sometimes(0.1, 0.1, 0.5)
    eyes = float(rng.uniform(-0.15, 0.3))
    blink = sometimes(0.1, 0.55, 1.1)
    pucker = 0.0 if smile else sometimes(0.15, 0.3, 1.0)
    return Expression(
        jaw=jaw,
        smile=smile,
        pucker=pucker,
        part=part * (1 - 0.5 * pucker),
        sulk=0.0 if smile else sometimes(0.25, 0.2, 1.0),
        brow_up=sometimes(0.3, 0.2, 1.1),
        brow_in=sometimes(0.25, 0.2, 1.0),
        blink=(eyes + blink, eyes + blink),
        squint=float(np.clip(0.6 * smile + sometimes(0.2, 0.1, 0.6), 0, 1)),
        gaze=(float(rng.normal(0, 0.2)), float(rng.normal(0, 0.1))),
    )


def _toward(azimuth: float, elevation: float) -> np.ndarray:
    a, e = np.radians([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)


def _tint(warmth: float) -> np.ndarray:
    """A light's color from -1 (blue sky) to 1 (bulb), about equally bright."""
    return np.array([1 + 0.2 * warmth, 1.0, 1 - 0.28 * warmth], np.float32)


def _light(rng: np.random.Generator) -> Light:
    side = rng.choice([-1, 1])
    key_strength = float(rng.uniform(0.45, 1.3))
    ambient = float(rng.uniform(0.24, 0.58)) * (1.25 - 0.45 * key_strength)
    mood = rng.normal(0, 0.4)
    return Light(
        key=_toward(side * rng.uniform(8, 68), rng.uniform(5, 52)),
        key_color=key_strength * _tint(float(np.clip(mood + rng.normal(0, 0.4), -1, 1))),
        fill=_toward(-side * rng.uniform(30, 95), rng.uniform(-5, 25)),
        fill_color=float(rng.uniform(0.03, 0.28)) * _tint(float(np.clip(mood - 0.2, -1, 1))),
        sky=ambient * _tint(float(np.clip(mood - 0.25, -1, 1))),
        ground=ambient * float(rng.uniform(0.35, 0.75)) * _tint(float(np.clip(mood + 0.3, -1, 1))),
        softness=float(rng.uniform(0.35, 1.1)),
    )


def _background(rng: np.random.Generator, light: Light) -> np.ndarray:
    """A room or a garden out of focus, ``(90, 160, 3)`` linear RGB."""
    h, w = 90, 160
    wall = rng.uniform(0.12, 0.7) * (1 + rng.uniform(-0.22, 0.22, 3))
    picture = np.ones((h, w, 3), np.float32) * wall.astype(np.float32)
    for _ in range(int(rng.integers(2, 9))):
        color = (rng.uniform(0.05, 0.8) * (1 + rng.uniform(-0.5, 0.5, 3))).tolist()
        x, y = int(rng.integers(0, w)), int(rng.integers(0, h))
        if rng.random() < 0.6:
            size = (x + int(rng.integers(8, 60)), y + int(rng.integers(10, 80)))
            cv2.rectangle(picture, (x, y), size, color, -1)
        else:
            cv2.circle(picture, (x, y), int(rng.integers(3, 22)), color, -1)
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(1.2, 5)))
    slope = np.linspace(-1, 1, w)[None, :, None] * rng.normal(0, 0.25)
    slope = slope + np.linspace(1, -1, h)[:, None, None] * rng.uniform(0, 0.25)
    return np.clip(blurred * (1 + slope) * (light.sky + 0.4 * light.key_color), 0, 1.5).astype(
        np.float32
    )
