"""Color spaces between sRGB and perception, for ``(n, 3, h, w)`` pictures; white is D65."""

from __future__ import annotations

import torch
from torch import Tensor

#: Linear sRGB to CIE XYZ, exact for the primaries and white of the standard.
_TO_XYZ = torch.tensor(
    [
        [10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
        [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
        [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382],
    ],
    dtype=torch.float64,
)
_WHITE = _TO_XYZ.sum(dim=1)
#: Linear sRGB to XYZ relative to white, and back.
_TO_RELATIVE = _TO_XYZ / _WHITE[:, None]
_FROM_RELATIVE = _TO_RELATIVE.inverse()
#: Relative XYZ to YCxCz without its offset, and back.
_TO_OPPONENT = torch.tensor(
    [[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]], dtype=torch.float64
)
_FROM_OPPONENT = _TO_OPPONENT.inverse()
_DELTA = 6 / 29


def linear_rgb(srgb: Tensor) -> Tensor:
    """Undo the gamma of sRGB, 0..1 to 0..1."""
    steep = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, steep)


def ycxcz(linear: Tensor) -> Tensor:
    """Convert linear RGB to YCxCz, a linear Lab; Y is -16..100."""
    return _mix(linear, _TO_OPPONENT @ _TO_RELATIVE) - _luminance_offset(linear)


def from_ycxcz(opponent: Tensor) -> Tensor:
    """Convert YCxCz to linear RGB."""
    return _mix(opponent + _luminance_offset(opponent), _FROM_RELATIVE @ _FROM_OPPONENT)


def lab(linear: Tensor) -> Tensor:
    """Convert linear RGB to CIELAB; L is 0..100."""
    relative = _mix(linear, _TO_RELATIVE)
    root = relative.clamp(min=_DELTA**3) ** (1 / 3)
    bent = torch.where(relative > _DELTA**3, root, relative / (3 * _DELTA**2) + 4 / 29)
    return _mix(bent, _TO_OPPONENT) - _luminance_offset(linear)


def _mix(pictures: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix.to(pictures), pictures)


def _luminance_offset(like: Tensor) -> Tensor:
    return like.new_tensor([16.0, 0.0, 0.0]).view(1, 3, 1, 1)
