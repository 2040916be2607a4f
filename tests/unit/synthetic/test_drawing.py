"""The parts that draw people: rasterizer, template, expressions."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from fs_faces.geometry import align, crop_matrix, transform
from fs_kernel.randomness import generator
from fs_synthetic.head import Expression, make_head
from fs_synthetic.persons import CLARA, MARTIN
from fs_synthetic.raster import rasterize
from fs_synthetic.render import Actor, draw, frame_landmarks, make_actor
from fs_synthetic.scene import Scene, rotation, sample_scene
from fs_synthetic.template import RINGS, grid_position, loft, template


@pytest.fixture(scope="module")
def clara() -> Actor:
    return make_actor(CLARA)


@pytest.fixture
def scene() -> Scene:
    scene = sample_scene(generator(1, "scene"))
    ahead = attrs.evolve(scene.camera, rotation=rotation(0, 0, 0))
    return attrs.evolve(scene, expression=Expression(), camera=ahead)


def grid(rows: int, columns: int, scale: float) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    return np.stack([x, y], axis=-1) * scale + 3


def test_raster_gives_the_grid_position_of_every_pixel() -> None:
    xy = grid(4, 5, 7.3)
    layer = rasterize(xy, np.zeros((4, 5), np.float32), 40)
    y, x = np.divmod(layer.pixel, 40)
    np.testing.assert_allclose(layer.column, (x - 3) / 7.3, atol=1e-4)
    np.testing.assert_allclose(layer.row, (y - 3) / 7.3, atol=1e-4)
    assert len(np.unique(layer.pixel)) == len(layer.pixel)
    inside = (x >= 3) & (x <= 3 + 4 * 7.3)
    assert inside.all()
    assert len(layer.pixel) == 30 * 22  # pixels 3..32 and 3..24: no holes


def test_raster_shows_the_nearest_surface() -> None:
    xy = np.concatenate([grid(2, 2, 10), grid(2, 2, 10)])
    nearness = np.array([[0, 0], [0, 0], [5, 5], [5, 5]], np.float32)
    layer = rasterize(xy, nearness, 20, solid=np.array([[1, 1], [0, 0], [0, 0], [1, 1]], bool))
    assert len(layer.pixel)
    np.testing.assert_allclose(layer.nearness, 5, rtol=1e-5)
    assert (layer.row > 1.999).all()


def test_raster_tells_outside_from_inside() -> None:
    xy, nearness = grid(3, 3, 5), np.zeros((3, 3), np.float32)
    assert len(rasterize(xy, nearness, 20).pixel)
    assert not len(rasterize(xy, nearness, 20, inside=True).pixel)
    assert len(rasterize(xy[:, ::-1], nearness, 20, inside=True).pixel)


def test_grid_position_finds_points_of_the_surface() -> None:
    wanted = np.array([[0.0, -4.0], [3.3, -7.7], [-5.3, 0.0], [-6.7, 1.5], [0.0, -9.0]])
    base = template()
    at = grid_position(wanted)
    ring = np.interp(at[:, 0], np.arange(len(base.ring)), base.ring)[:, None]
    azimuth = np.interp(at[:, 1], np.arange(len(base.azimuth)), base.azimuth)[:, None]
    np.testing.assert_allclose(loft(RINGS, ring, azimuth)[:, 0, :2], wanted, atol=1e-3)


@pytest.mark.parametrize("person", [MARTIN, CLARA])
def test_a_straight_face_is_aligned_straight(person, scene: Scene) -> None:
    class Bust:
        head = make_head(person)

    alignment = align(frame_landmarks(Bust, scene))  # type: ignore[arg-type]
    assert abs(alignment.yaw) < 3
    assert abs(alignment.pitch) < 15


@pytest.mark.parametrize(
    ("change", "upper", "lower", "at_least"),
    [
        ({"jaw": 0.8}, 62, 66, 1.5),
        ({"part": 0.8}, 62, 66, 0.5),
        ({"brow_up": 1.0}, 19, 37, 0.4),
    ],
)
def test_expressions_open_what_they_should(change, upper, lower, at_least) -> None:
    head = make_head(CLARA)

    def gap(expression: Expression) -> float:
        at = np.rint(head.landmark_positions(expression)).astype(int)
        points = head.posed(expression)[at[:, 0], at[:, 1]]
        return float(points[upper, 1] - points[lower, 1])

    assert gap(Expression(**change)) - gap(Expression()) > at_least


def test_blink_closes_the_eye_and_its_landmarks(clara: Actor, scene: Scene) -> None:
    shut = attrs.evolve(scene, expression=Expression(blink=(1.0, 0.0)))
    points = frame_landmarks(clara, shut) / scene.camera.scale
    assert abs(points[37, 1] - points[41, 1]) < 0.1
    assert abs(points[43, 1] - points[47, 1]) > 0.5


def test_picture_has_no_holes_in_the_face(clara: Actor, scene: Scene) -> None:
    landmarks = frame_landmarks(clara, scene)
    matrix = crop_matrix(align(landmarks), 128, "head")
    picture = draw(clara, scene, matrix, 128)
    assert np.isfinite(picture.image).all()
    points = transform(landmarks, matrix)
    x0, y0 = np.ceil(points[36:].min(axis=0)).astype(int)
    x1, y1 = np.floor(points[36:].max(axis=0)).astype(int)
    assert (picture.face[y0:y1, x0:x1] > 0.99).all()
    assert (picture.head >= picture.face - 1e-3).all()
    assert picture.face[:10].max() == 0
