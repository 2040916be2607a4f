"""Light skin, hair and eyes. All colors are linear RGB."""

from __future__ import annotations

import cv2
import numpy as np

from fs_synthetic.openings import Surface
from fs_synthetic.scene import Light

#: Distance that light bleeds past the terminator in skin, red first.
_BLEED = np.array([0.4, 0.22, 0.16], np.float32)
#: Excess of each color in half-shadows.
_REDDENING = np.array([0.25, -0.04, -0.1], np.float32)
_SHADOW_MAP = 80


def _squared(value: np.ndarray, times: int) -> np.ndarray:
    """Return ``value`` to the power of 2**times."""
    for _ in range(times):
        value = value * value
    return value


def _halfway(light: Light) -> np.ndarray:
    """Return the unit vector halfway between the key light and the camera."""
    half = light.key + np.array([0, 0, 1], np.float32)
    unit: np.ndarray = half / np.linalg.norm(half)
    return unit


def grid_normals(points: np.ndarray) -> np.ndarray:
    """Return the unit normals of a grid ``(rows, columns, 3)``, pointing outwards."""
    down = cv2.filter2D(points, -1, np.array([[-1.0], [0], [1]]), borderType=cv2.BORDER_REPLICATE)
    right = cv2.filter2D(points, -1, np.array([[-1.0, 0, 1]]), borderType=cv2.BORDER_REPLICATE)
    normal = np.cross(down, right)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    unit: np.ndarray = normal / np.maximum(length, 1e-9)
    return unit.astype(np.float32)


def cavity(points: np.ndarray) -> np.ndarray:
    """Return a grid's ambient occlusion from its concavity, ``(rows, columns)`` 0..1 float32."""
    normal = grid_normals(points)
    open_sky = np.ones(points.shape[:2], np.float32)
    for sigma, strength in ((1.2, 0.8), (3.0, 0.4), (6.0, 0.2)):
        smooth = cv2.GaussianBlur(points, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        depth = ((smooth - points) * normal).sum(-1)
        open_sky *= np.clip(1 - strength * np.clip(depth, 0, None), 0.3, 1).astype(np.float32)
    return open_sky


class ShadowMap:
    """A variance shadow map of the key light, filled with vertices.

    W. Donnelly and A. Lauritzen, "Variance Shadow Maps", I3D 2006.

    Args:
        light: of the scene.
        casters: ``(n, 3)`` float32 points in the world.
    """

    def __init__(self, light: Light, casters: np.ndarray) -> None:
        toward = light.key
        across = np.cross([0.0, 1.0, 0.0], toward)
        across /= np.linalg.norm(across)
        axes = np.stack([across, np.cross(toward, across), toward]).astype(np.float32)
        self._axes = axes
        self._reach = 21.0
        self._center = np.array([0.0, -2.0, -4.0], np.float32)
        texel = self._texels(casters)
        near = np.full((_SHADOW_MAP, _SHADOW_MAP), -60, np.float32)
        column, row = np.rint(texel[:, 0]).astype(int), np.rint(texel[:, 1]).astype(int)
        inside = (column >= 0) & (column < _SHADOW_MAP) & (row >= 0) & (row < _SHADOW_MAP)
        np.maximum.at(near, (row[inside], column[inside]), texel[inside, 2])
        closed = cv2.morphologyEx(near, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        sigma = light.softness * _SHADOW_MAP / (2 * self._reach)
        moments = np.stack([closed, closed**2], axis=-1)
        self._moments = cv2.GaussianBlur(moments, (0, 0), sigma)

    def _texels(self, points: np.ndarray) -> np.ndarray:
        turned = (points - self._center) @ self._axes.T
        turned[:, :2] = (turned[:, :2] / self._reach + 1) * (_SHADOW_MAP / 2)
        return turned

    def lit(self, points: np.ndarray) -> np.ndarray:
        """Return the share of the key light that reaches points ``(rows, columns, 3)``, 0..1."""
        texel = self._texels(points.reshape(-1, 3)).reshape(points.shape)
        moments = cv2.remap(
            self._moments,
            texel[..., 0],
            texel[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(-60, 3600),
        )
        behind = moments[..., 0] - texel[..., 2] - 0.45
        variance = np.maximum(moments[..., 1] - moments[..., 0] ** 2, 0.12)
        chance = variance / (variance + behind**2)
        chance = np.clip((chance - 0.18) / 0.82, 0, 1)
        return np.where(behind <= 0, 1, chance).astype(np.float32)


def light_skin(surface: Surface, shadow: np.ndarray, light: Light) -> np.ndarray:
    """Return the colors of skin, cloth, eyes and teeth under the scene's light.

    Args:
        surface: of the pixels, normals in the world.
        shadow: ``(n,)`` share of the key light that arrives.
        light: of the scene.

    Returns:
        ``(n, 3)`` linear RGB.
    """
    normal = surface.normal
    bleed = _BLEED * (1 - surface.polish[:, None])
    facing = (normal @ light.key)[:, None]
    direct = np.clip((facing + bleed) / (1 + bleed), 0, 1)
    direct *= 0.35 + 0.65 * direct
    # shadows and creases are a little redder than their surroundings
    arriving = shadow[:, None] + _REDDENING * (shadow * (1 - shadow))[:, None]
    open_sky = surface.occlusion[:, None]
    open_sky = open_sky + 0.6 * _REDDENING * open_sky * (1 - open_sky)
    filled = np.clip((normal @ light.fill)[:, None] * 0.75 + 0.25, 0, 1)
    up = normal[:, 1:2] * 0.5 + 0.5
    total = (light.ground + (light.sky - light.ground) * up + filled * light.fill_color) * open_sky
    total += direct * arriving * light.key_color * (0.55 + 0.45 * open_sky)
    color: np.ndarray = surface.albedo * total
    sheen = np.clip(normal @ _halfway(light), 0, 1)
    sheen8 = _squared(sheen, 3)
    sheen32 = _squared(sheen8, 2)
    broad = 0.055 * sheen8 + 0.085 * sheen32
    sharp = 0.05 * sheen8 + 1.1 * _squared(sheen32, 3)
    spot = broad + surface.polish * (sharp - broad)
    grazing = _squared(1 - np.clip(normal[:, 2], 0, 1), 2)
    color += (surface.gloss * spot * shadow * (facing[:, 0] > -0.1))[:, None] * light.key_color
    mirrored = surface.gloss * (0.1 * grazing * surface.occlusion + 0.03 * surface.polish)
    color += mirrored[:, None] * light.sky
    return color


def light_hair(
    albedo: np.ndarray,
    normal: np.ndarray,
    strand: np.ndarray,
    ruffle: np.ndarray,
    occlusion: np.ndarray,
    shadow: np.ndarray,
    light: Light,
) -> np.ndarray:
    """Return the colors of hair under the scene's light.

    J. Kajiya and T. Kay, "Rendering Fur", SIGGRAPH 1989.

    Args:
        albedo: ``(n, 3)``.
        normal: ``(n, 3)`` of the hair's surface, in the world.
        strand: ``(n, 3)`` direction of the strands in the world, of any length.
        ruffle: ``(n,)`` irregularity of the strands, about +-1.
        occlusion: ``(n,)`` ambient occlusion, 0..1.
        shadow: ``(n,)`` share of the key light that arrives.
        light: of the scene.
    """
    facing = np.clip((normal @ light.key + 0.25 + 0.2 * ruffle) / 1.25, 0, 1)
    strand = strand / np.maximum(np.linalg.norm(strand, axis=1, keepdims=True), 1e-6)
    along = strand @ light.key
    direct = facing * (0.45 + 0.55 * np.sqrt(np.clip(1 - along**2, 0, 1))) * shadow
    up = normal[:, 1:2] * 0.5 + 0.5
    ambient = (light.ground + (light.sky - light.ground) * up) * occlusion[:, None]
    fill = np.clip((normal @ light.fill) * 0.7 + 0.3, 0, 1) * occlusion
    color = albedo * (
        direct[:, None] * light.key_color + ambient + fill[:, None] * light.fill_color
    )
    shifted = strand @ _halfway(light) + 0.1 + 0.09 * ruffle
    shine = _squared(np.clip(1 - shifted**2, 0, 1), 5) * facing * shadow * (0.7 + 0.3 * ruffle)
    tint = 0.35 * albedo + 0.018
    lit: np.ndarray = color + np.clip(shine, 0, None)[:, None] * tint * light.key_color * 1.4
    return lit
