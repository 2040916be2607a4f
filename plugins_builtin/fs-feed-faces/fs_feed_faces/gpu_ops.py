"""Augment a whole batch of pictures in PyTorch, with the mathematics of `augment` in float.

Pictures are ``(n, c, h, h)`` float32 0..255. All shapes follow from the batch alone and nothing is
read back, so the CPU never waits for the device.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch.nn import functional

from fs_feed_faces.augmentation_params import GRID

#: Linear sRGB to XYZ (D65), and XYZ of white.
_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.950456, 1.0, 1.088754)
_TO_WHITE = np.array(_XYZ) / np.array(_WHITE)[:, None]
#: Share of white below which lightness is linear (CIE 1976).
_LINEAR = 0.008856
_SLOPE, _LEVEL = 7.787, 16 / 116
#: Fractional bits of light, of the colors' shares in it, and of its cube root.
_LIGHT, _SHARES, _ROOT = 3, 12, 15
_CLAHE_CLIP = 2.0


@cache
def _tables(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the light of each 8-bit value, the root of each light, and RGB's shares in XYZ."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    share = np.arange(256 * 3 // 2 << _LIGHT) / (255 << _LIGHT)
    root = np.where(share < _LINEAR, share * _SLOPE + _LEVEL, np.cbrt(share))
    fixed = (light * (255 << _LIGHT), root * 2**_ROOT, _TO_WHITE * 2**_SHARES)
    tables = [torch.from_numpy(np.rint(a).astype(np.int32)).to(device) for a in fixed]
    return tables[0], tables[1], tables[2]


def to_lab(bgr: torch.Tensor) -> torch.Tensor:
    """Return 8-bit BGR as 8-bit Lab, both ``(n, 3, h, h)`` of whole numbers 0..255.

    L is scaled from 0..100 to 0..255, a and b are shifted by 128. Computed in integers as in
    OpenCV: contrast equalization would amplify a difference of one value of 255.
    """
    lights, roots, shares = _tables(bgr.device)
    blue, green, red = lights[bgr.long()].unbind(1)
    xyz = [_rounded(x * red + y * green + z * blue, _SHARES) for x, y, z in shares.unbind(0)]
    x, y, z = (roots[light.long()] for light in xyz)
    lightness = (116 * 255 + 50) // 100 * y - ((16 * 255 << _ROOT) + 50) // 100
    lab = [lightness, 500 * (x - y) + (128 << _ROOT), 200 * (y - z) + (128 << _ROOT)]
    return _rounded(torch.stack(lab, 1), _ROOT).clamp(0, 255).float()


def _rounded(fixed: torch.Tensor, digits: int) -> torch.Tensor:
    return (fixed + (1 << (digits - 1))) >> digits


def from_lab(lab: torch.Tensor) -> torch.Tensor:
    """Return 8-bit Lab as 8-bit BGR, the inverse of `to_lab`."""
    lightness, a, b = lab.unbind(1)
    y = (lightness / 2.55 + 16) / 116
    f = torch.stack([y + (a - 128) / 500, y, y - (b - 128) / 200], 1)
    xyz = torch.where(f > _SLOPE * _LINEAR + _LEVEL, f**3, (f - _LEVEL) / _SLOPE)
    linear = torch.einsum("ij,njhw->nihw", _to_light(lab.device), xyz).clamp(0, 1)
    rgb = torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )
    return (rgb.flip(1) * 255).round().clamp(0, 255)


@cache
def _to_light(device: torch.device) -> torch.Tensor:
    """Return the matrix from shares of white to linear sRGB, ``(3, 3)``."""
    return torch.tensor(np.linalg.inv(_TO_WHITE), dtype=torch.float32, device=device)


def vary_color(
    pictures: torch.Tensor, changes: torch.Tensor, tiles: torch.Tensor, most: int
) -> torch.Tensor:
    """Return pictures with lightness and color changed in Lab, and local contrast equalized.

    Args:
        pictures: ``(n, 3, h, h)`` BGR, whole numbers.
        changes: ``(n, 3)``, see `fs_feed_faces.augmentation_params.color_tables`.
        tiles: ``(n,)`` int64, per axis; 0 for none.
        most: upper bound of the number of tiles.
    """
    change = changes[:, :, None, None]
    lab = (to_lab(pictures) * (1 - change.abs()) + 255 * change.clamp(min=0)).round()
    lightness = lab[:, 0]
    even = equalize(lightness, tiles.clamp(min=1), most)
    lab[:, 0] = torch.where((tiles > 0)[:, None, None], even, lightness)
    return from_lab(lab)


def equalize(values: torch.Tensor, tiles: torch.Tensor, most: int) -> torch.Tensor:
    """Return values after contrast-limited adaptive histogram equalization, as OpenCV's, limit 2.

    K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV, 1994.
    All pictures are processed at once, whatever their number of tiles: each has a histogram per
    tile, and every pixel is mapped by the tables of the four nearest tiles.

    Args:
        values: ``(n, h, h)``, whole numbers 0..255.
        tiles: ``(n,)`` int64 per axis, at least 1.
        most: upper bound of the number of tiles.
    """
    count, size = values.shape[:2]
    device = values.device
    edge = (size + tiles - 1) // tiles
    # The picture is padded by reflection to a multiple of the tiles.
    line = torch.arange(size + most - 1, device=device)
    inside = torch.where(line < size, line, 2 * (size - 1) - line)
    wide = values[:, inside][:, :, inside].long()
    tile = (line // edge[:, None]).clamp(max=most - 1)
    counted = (line < (edge * tiles)[:, None]).to(values.dtype)
    table = (tile[:, :, None] * most + tile[:, None, :]) * 256 + wide
    histogram = torch.zeros(count, most * most * 256, device=device)
    weight = counted[:, :, None] * counted[:, None, :]
    histogram.scatter_add_(1, table.flatten(1), weight.flatten(1))
    histogram = histogram.reshape(count, most * most, 256)

    area = (edge * edge).to(values.dtype)[:, None, None]
    limit = (_CLAHE_CLIP * area / 256).floor().clamp(min=1)
    clipped = torch.minimum(histogram, limit)
    excess = (histogram - clipped).sum(2, keepdim=True)
    share = (excess / 256).floor()
    rest = excess - share * 256
    # The remainder of an even distribution goes to every n-th value, starting at the lowest.
    step = (256 / rest.clamp(min=1)).floor().clamp(min=1)
    value = torch.arange(256, device=device)
    clipped += share + ((value % step == 0) & (value < rest * step))
    tables = (clipped.cumsum(2) * (255 / area)).round().clamp(0, 255).flatten(1)

    pixel = torch.arange(size, device=device)
    place = pixel / edge[:, None] - 0.5
    first = place.floor()
    between = place - first
    last = tiles[:, None] - 1
    low = torch.minimum(first.long().clamp(min=0), last)
    high = torch.minimum((first.long() + 1).clamp(min=0), last)
    known = values.long()

    def mapped(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        at = (rows[:, :, None] * most + columns[:, None, :]) * 256 + known
        return tables.gather(1, at.flatten(1)).reshape(values.shape)

    across, down = between[:, None, :], between[:, :, None]
    upper = mapped(low, low) * (1 - across) + mapped(low, high) * across
    lower = mapped(high, low) * (1 - across) + mapped(high, high) * across
    return (upper * (1 - down) + lower * down).round()


def sources(inverse: torch.Tensor, size: int) -> torch.Tensor:
    """Return the source positions of a moved picture's pixels, ``(n, size, size, 2)``: x and y.

    Args:
        inverse: ``(n, 2, 3)``, moved pixels to pixels.
        size: edge of the picture.
    """
    line = torch.arange(size, device=inverse.device, dtype=inverse.dtype)
    x = line[None, None, :, None] * inverse[:, None, None, :, 0]
    y = line[None, :, None, None] * inverse[:, None, None, :, 1]
    return x + y + inverse[:, None, None, :, 2]


def spread(grids: torch.Tensor, size: int) -> torch.Tensor:
    """Return grids ``(n, 5, 5, 2)`` interpolated at each pixel, ``(n, size, size, 2)``."""
    place = (torch.arange(size, device=grids.device) + 0.5) * ((GRID - 1) / size)
    point = torch.arange(GRID, device=grids.device)
    weights = (1 - (place[:, None] - point).abs()).clamp(min=0)
    return torch.einsum("pi,nijc,qj->npqc", weights, grids, weights)


def resample(pictures: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return pictures ``(n, c, h, h)`` sampled at positions ``at``, border replicated."""
    grid = at * (2 / (pictures.shape[-1] - 1)) - 1
    return functional.grid_sample(
        pictures, grid, mode="bilinear", padding_mode="border", align_corners=True
    )


def inside(at: torch.Tensor, size: int) -> torch.Tensor:
    """Return the share of each pixel that comes from within, ``(n, 1, size, size)`` 0..1."""
    within = (torch.minimum(at, size - 1 - at) + 1).clamp(0, 1)
    return within.prod(dim=-1)[:, None]


def shrink(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """Return pictures at a smaller edge length; each pixel is the mean of its area."""
    edge = pictures.shape[-1]
    if edge == size:
        return pictures
    line = torch.arange(edge, device=pictures.device)
    start = torch.arange(size, device=pictures.device)[:, None] * (edge / size)
    end = start + edge / size
    cover = (torch.minimum(end, line + 1) - torch.maximum(start, line)).clamp(min=0) * (size / edge)
    return torch.einsum("ip,ncpq,jq->ncij", cover, pictures, cover)
