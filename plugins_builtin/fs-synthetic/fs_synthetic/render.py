"""Render a person in a scene."""

from __future__ import annotations

import attrs
import cv2
import numpy as np

from fs_synthetic.hair import Ear, Tresses, grow_hair, make_ear, scalp
from fs_synthetic.head import Head, make_head
from fs_synthetic.openings import Surface, add_eyes, add_mouth
from fs_synthetic.persons import Person
from fs_synthetic.raster import Layer, rasterize
from fs_synthetic.scene import FRAME_HEIGHT, FRAME_WIDTH, Camera, Scene
from fs_synthetic.shading import ShadowMap, cavity, grid_normals, light_hair, light_skin
from fs_synthetic.skin import Skin, linear, paint_skin
from fs_synthetic.template import smoothstep, template

#: Pixels drawn per pixel of the picture, along each edge.
SUPERSAMPLING = 2


@attrs.frozen(eq=False)
class Actor:
    """A person, prepared for drawing: everything that is the same in every picture."""

    head: Head
    skin: Skin
    hair: Tresses
    ears: tuple[Ear, ...]
    occlusion: np.ndarray
    body: np.ndarray
    jaw_row: float


@attrs.frozen(eq=False)
class Picture:
    """A drawn head.

    Attributes:
        image: ``(size, size, 3)`` float32 linear RGB.
        face: ``(size, size)`` float32 0..1: skin of the face with eyes and lips, not under hair.
        head: ``(size, size)`` float32 0..1: the face with ears, hair and forehead.
    """

    image: np.ndarray
    face: np.ndarray
    head: np.ndarray


def make_actor(person: Person) -> Actor:
    """Return a person, shaped, painted and dressed."""
    head = make_head(person)
    skin = paint_skin(person)
    under_hair = scalp(person)[..., None]
    skin.albedo[:] += (0.8 * linear(person.hair.color) - skin.albedo) * under_hair
    base = template()
    shade = cavity(head.points)
    shade = shade * (1 - 0.55 * smoothstep(12.6, 14.6, base.ring)[:, None] * _under_chin())
    return Actor(
        head=head,
        skin=skin,
        hair=grow_hair(head),
        ears=() if person.hair.style == "long" else (make_ear(head, -1), make_ear(head, 1)),
        occlusion=shade.astype(np.float32),
        jaw_row=float(np.interp(12.9, base.ring, np.arange(len(base.ring)))),
        body=smoothstep(13.2, 18.0, base.ring)[:, None, None].astype(np.float32),
    )


def _under_chin() -> np.ndarray:
    base = template()
    front = smoothstep(140, 70, np.degrees(np.abs(base.azimuth)))
    shade: np.ndarray = smoothstep(18.0, 14.5, base.ring)[:, None] * front
    return shade


def frame_landmarks(actor: Actor, scene: Scene) -> np.ndarray:
    """Return the 68 landmarks in frame pixels, ``(68, 2)`` float64."""
    points = actor.head.posed(scene.expression)
    at = actor.head.landmark_positions(scene.expression)
    found = cv2.remap(points, at[None, :, 1], at[None, :, 0], cv2.INTER_LINEAR)
    landmarks: np.ndarray = scene.camera.project(scene.camera.place(found))[0]
    return landmarks.astype(np.float64)


def draw(actor: Actor, scene: Scene, matrix: np.ndarray, size: int) -> Picture:
    """Return the picture of a person in a scene, seen through a crop of the frame.

    The crop is drawn directly, instead of drawing the frame and resampling it.

    Args:
        actor: the person.
        scene: pose, expression, light and background.
        matrix: ``(2, 3)`` frame pixels to the pixels of the crop.
        size: edge of the crop in pixels.
    """
    fine = size * SUPERSAMPLING
    view = _View(scene.camera, _finer(matrix), fine)
    head_points = actor.head.posed(scene.expression)
    world = scene.camera.place(head_points, actor.body)
    hair_world = scene.camera.place(actor.hair.points)
    ear_worlds = [scene.camera.place(ear.points) for ear in actor.ears]
    casters = np.concatenate([world[:-6].reshape(-1, 3), hair_world[actor.hair.solid]])
    shadows = ShadowMap(scene.light, casters)

    image = view.backdrop(scene.background).reshape(-1, 3)
    face = np.zeros(fine * fine, np.float32)
    whole = np.zeros(fine * fine, np.float32)
    nearest = np.full(fine * fine, -1e9, np.float32)

    layer = view.raster(world)
    normals = grid_normals(world)
    slit = template().lip_row
    normals[slit], normals[slit + 1] = normals[slit - 1], normals[slit + 2]
    shade = np.stack([actor.occlusion, shadows.lit(world)], axis=-1)
    for part in layer.parts():
        image[part.pixel] = _shade_head(actor, scene, part, view, normals, shade)
    face[layer.pixel] = layer.of_texture(actor.skin.face)
    whole[layer.pixel] = layer.row < actor.jaw_row
    nearest[layer.pixel] = layer.nearness
    for ear, points in zip(actor.ears, ear_worlds, strict=True):
        layer = view.raster(points)
        layer = layer.keep(layer.nearness > nearest[layer.pixel])
        if len(layer.pixel):
            image[layer.pixel] = _shade_ear(ear, scene, layer, points, shadows)
            face[layer.pixel], whole[layer.pixel] = 0, 1
            nearest[layer.pixel] = layer.nearness
    normals = grid_normals(hair_world)
    strands = scene.camera.turn(actor.hair.strand)
    shade = np.stack([actor.hair.occlusion, shadows.lit(hair_world)], axis=-1)
    for inside in (True, False):
        layer = view.raster(hair_world, actor.hair.solid, inside)
        layer = layer.keep(layer.nearness > nearest[layer.pixel])
        for part in layer.parts():
            color = _shade_hair(actor.hair, scene, part, normals, strands, shade, inside)
            alpha = part.of_texture(actor.hair.alpha)
            image[part.pixel] += alpha[:, None] * (color - image[part.pixel])
            face[part.pixel] *= 1 - alpha
            whole[part.pixel] = np.maximum(whole[part.pixel], alpha)
    shape = (fine, fine)
    return Picture(
        image=_coarser(image.reshape(*shape, 3), size),
        face=_coarser(face.reshape(shape), size),
        head=_coarser(whole.reshape(shape), size),
    )


def _finer(matrix: np.ndarray) -> np.ndarray:
    """Return a crop's matrix for the supersampled crop (pixel centers are whole numbers)."""
    fine = matrix * SUPERSAMPLING
    fine[:, 2] += (SUPERSAMPLING - 1) / 2
    return fine


def _coarser(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


class _View:
    """The camera as seen through a crop."""

    def __init__(self, camera: Camera, matrix: np.ndarray, size: int) -> None:
        self._camera, self._matrix, self._size = camera, matrix, size
        self._inverse = cv2.invertAffineTransform(matrix)

    def raster(
        self, world: np.ndarray, solid: np.ndarray | None = None, inside: bool = False
    ) -> Layer:
        frame = self._camera.project(world)
        xy = frame @ self._matrix[:, :2].T + self._matrix[:, 2]
        return rasterize(xy.astype(np.float32), world[..., 2], self._size, solid, inside)

    def frame_xy(self, pixel: np.ndarray) -> np.ndarray:
        row, column = np.divmod(pixel, self._size)
        xy = np.stack([column, row], axis=1).astype(np.float64)
        return xy @ self._inverse[:, :2].T + self._inverse[:, 2]

    def backdrop(self, background: np.ndarray) -> np.ndarray:
        stretch = np.diag([background.shape[1] / FRAME_WIDTH, background.shape[0] / FRAME_HEIGHT])
        return cv2.warpAffine(
            background,
            stretch @ self._inverse,
            (self._size, self._size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )


def _turned(vectors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return vectors ``(n, 3)`` float32 mapped by a 3 x 3 matrix."""
    turned: np.ndarray = cv2.transform(vectors[None], matrix)[0]
    return turned


def _shade_head(
    actor: Actor, scene: Scene, layer: Layer, view: _View, normals: np.ndarray, shade: np.ndarray
) -> np.ndarray:
    """Return the colors ``(n, 3)`` of the head's pixels.

    Args:
        actor: the person.
        scene: pose, expression, light and background.
        layer: the head's pixels.
        view: the camera.
        normals: ``(rows, columns, 3)`` of the vertices, in the world.
        shade: ``(rows, columns, 2)`` their ambient occlusion and share of the key light.
    """
    base = template()
    rotation = scene.camera.rotation
    normal = _turned(layer.of_vertices(normals), rotation.T)  # into the head's own axes
    normal[:, :2] -= layer.of_texture(actor.skin.relief) * normal[:, 2:]
    shade = layer.of_vertices(shade)
    surface = Surface(
        albedo=layer.of_texture(actor.skin.albedo),
        normal=normal,
        gloss=layer.of_texture(actor.skin.gloss),
        polish=np.zeros(len(layer.pixel), np.float32),
        occlusion=shade[:, 0],
    )
    place = layer.of_vertices(base.points)
    at_front = place[:, 2] > 0
    if at_front.any():

        def frame_xy(chosen: np.ndarray) -> np.ndarray:
            return view.frame_xy(layer.pixel[chosen])

        template_xy = np.where(at_front[:, None], place[:, :2], np.float32(np.nan))
        depth = layer.row - base.lip_row
        depth = np.where(at_front & (depth >= 0) & (depth <= 1), depth, np.float32(np.nan))
        face = (surface, actor.head, scene.expression, scene.camera)
        add_eyes(*face, template_xy, frame_xy)
        add_mouth(*face, place[:, 0], depth, frame_xy)
    surface.normal = cv2.transform(surface.normal[None], rotation)[0]
    surface.normal /= np.sqrt(np.einsum("ij,ij->i", surface.normal, surface.normal))[:, None]
    return light_skin(surface, shade[:, 1], scene.light)


def _shade_ear(
    ear: Ear, scene: Scene, layer: Layer, world: np.ndarray, shadows: ShadowMap
) -> np.ndarray:
    shade = layer.of_vertices(np.stack([ear.occlusion, shadows.lit(world)], axis=-1))
    count = len(layer.pixel)
    surface = Surface(
        albedo=layer.of_vertices(ear.albedo),
        normal=layer.of_vertices(grid_normals(world)),
        gloss=np.full(count, 0.4, np.float32),
        polish=np.zeros(count, np.float32),
        occlusion=shade[:, 0],
    )
    return light_skin(surface, shade[:, 1], scene.light)


def _shade_hair(
    hair: Tresses,
    scene: Scene,
    layer: Layer,
    normals: np.ndarray,
    strands: np.ndarray,
    shade: np.ndarray,
    inside: bool,
) -> np.ndarray:
    """Return the colors ``(n, 3)`` of hair seen from outside or inside."""
    normal, shade = layer.of_vertices(normals), layer.of_vertices(shade)
    if inside:
        normal, shade = -normal, 0.3 * shade
    return light_hair(
        layer.of_texture(hair.albedo),
        normal,
        layer.of_vertices(strands),
        layer.of_texture(hair.ruffle),
        shade[:, 0],
        shade[:, 1],
        scene.light,
    )
