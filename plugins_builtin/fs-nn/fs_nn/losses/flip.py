"""The difference that a viewer sees when flipping between two pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fs_nn.losses.color import from_ycxcz, lab, linear_rgb, ycxcz
from fs_nn.losses.filters import power, separable

#: Viewing at 0.7 m a monitor of 0.7 m and 3840 pixels.
_PIXELS_PER_DEGREE = 0.7 * (3840 / 0.7) * (math.pi / 180)
#: Contrast sensitivity: sums of (amplitude, width) per channel of YCxCz.
_SENSITIVITY = (((1.0, 0.0047),), ((1.0, 0.0053),), ((34.1, 0.04), (13.5, 0.025)))
_COLOR_POWER = 0.7
_COLOR_KNEE = 0.4
_COLOR_AT_KNEE = 0.95
_FEATURE_WIDTH = 0.082
_FEATURE_POWER = 0.5
_FLAT = 1e-6


class FLIP(nn.Module):
    """LDR-FLIP, a map ``(n, 1, h, w)`` with values 0..1; pictures are sRGB.

    Andersson et al. 2020, "FLIP: a difference evaluator for alternating images", with its constants
    and its default viewing conditions (67.02 pixels per degree).
    """

    color_order = "rgb"
    blurs: Tensor
    shares: Tensor
    smooth: Tensor
    edge: Tensor
    point: Tensor
    largest: Tensor

    def __init__(self) -> None:
        super().__init__()
        blurs, shares = _sensitivity_filters()
        smooth, edge, point = _feature_filters()
        kept = {"blurs": blurs, "shares": shares, "smooth": smooth, "edge": edge, "point": point}
        for name, values in {**kept, "largest": _largest_distance()}.items():
            self.register_buffer(name, values.float(), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the map of a batch of ``(n, 3, h, w)`` RGB pictures; values are cut to 0..1."""
        one, other = (
            ycxcz(linear_rgb(prediction.clamp(0, 1))),
            ycxcz(linear_rgb(target.clamp(0, 1))),
        )
        distance = _distance(self._perceived(one), self._perceived(other))
        color = self._redistributed(power(distance, _COLOR_POWER, _FLAT))
        return power(color, 1 - self._feature_difference(one, other), _FLAT)

    def _perceived(self, opponent: Tensor) -> Tensor:
        """Return Lab as the eye sees it from that distance, with the Hunt effect."""
        y, cx, cz = opponent.split(1, dim=1)
        planes = torch.cat((y, cx, cz, cz), dim=1)
        blurred = separable(_continued(planes, self.blurs), self.blurs, self.blurs) * self.shares
        seen = torch.cat((blurred[:, :2], blurred[:, 2:].sum(dim=1, keepdim=True)), dim=1)
        return _hunt(lab(from_ycxcz(seen).clamp(0, 1)))

    def _redistributed(self, distance: Tensor) -> Tensor:
        """Map color differences to 0..1, most of the range for the small ones."""
        knee = _COLOR_KNEE * self.largest
        low = distance * (_COLOR_AT_KNEE / knee)
        share = (distance - knee) / (self.largest - knee)
        return torch.where(distance < knee, low, _COLOR_AT_KNEE + share * (1 - _COLOR_AT_KNEE))

    def _feature_difference(self, one: Tensor, other: Tensor) -> Tensor:
        """Return how much edges or points differ, ``(n, 1, h, w)``, 0..1."""
        planes = [_continued((x[:, :1] + 16) / 116, self.smooth) for x in (one, other)]
        differences = []
        for detector in (self.edge, self.point):
            first, second = (self._strength(plane, detector) for plane in planes)
            differences.append((first - second).abs())
        return power(torch.maximum(*differences) / math.sqrt(2), _FEATURE_POWER, _FLAT)

    def _strength(self, plane: Tensor, detector: Tensor) -> Tensor:
        """Return the length of a detector's answers down and across."""
        answers = (
            separable(plane, detector, self.smooth),
            separable(plane, self.smooth, detector),
        )
        length: Tensor = torch.linalg.vector_norm(torch.cat(answers, dim=1), dim=1, keepdim=True)
        return length


def _continued(pictures: Tensor, window: Tensor) -> Tensor:
    """Return pictures with border pixels repeated, so that the window fits everywhere."""
    return F.pad(pictures, (window.shape[-1] // 2,) * 4, mode="replicate")


def _sensitivity_filters() -> tuple[Tensor, Tensor]:
    """Return a Gaussian per term, ``(4, k)`` of sum 1, and its channel share, ``(4, 1, 1)``."""
    widest = max(width for terms in _SENSITIVITY for _, width in terms)
    radius = math.ceil(3 * math.sqrt(widest / (2 * math.pi**2)) * _PIXELS_PER_DEGREE)
    degrees = torch.arange(-radius, radius + 1, dtype=torch.float64) / _PIXELS_PER_DEGREE
    blurs, shares = [], []
    for terms in _SENSITIVITY:
        windows = [torch.exp(-(math.pi**2) * degrees.square() / width) for _, width in terms]
        weights = [
            amplitude * math.sqrt(math.pi / width) * float(window.sum()) ** 2
            for (amplitude, width), window in zip(terms, windows, strict=True)
        ]
        blurs += [window / window.sum() for window in windows]
        shares += [weight / sum(weights) for weight in weights]
    return torch.stack(blurs), torch.tensor(shares, dtype=torch.float64).view(-1, 1, 1)


def _feature_filters() -> tuple[Tensor, Tensor, Tensor]:
    """Return, along one axis, a Gaussian and its first two derivatives; ``(k,)`` each.

    Positive and negative parts of a derivative have sum 1 and -1.
    """
    sigma = 0.5 * _FEATURE_WIDTH * _PIXELS_PER_DEGREE
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    smooth = torch.exp(-offsets.square() / (2 * sigma**2))
    edge, point = -offsets * smooth, (offsets.square() / sigma**2 - 1) * smooth
    return smooth / smooth.sum(), _balanced(edge), _balanced(point)


def _balanced(window: Tensor) -> Tensor:
    positive, negative = window.clamp(min=0).sum(), -window.clamp(max=0).sum()
    return torch.where(window > 0, window / positive, window / negative)


def _hunt(color: Tensor) -> Tensor:
    """Apply the Hunt effect: colors seem weaker in the dark."""
    lightness, chroma = color[:, :1], color[:, 1:]
    return torch.cat((lightness, chroma * (0.01 * lightness)), dim=1)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Return the HyAB distance: lightness and chroma apart, ``(n, 1, h, w)``."""
    difference = one - other
    chroma: Tensor = torch.linalg.vector_norm(difference[:, 1:], dim=1, keepdim=True)
    return difference[:, :1].abs() + chroma


def _largest_distance() -> Tensor:
    """Return the color difference of pure green and pure blue, the largest there is."""
    corners = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    green, blue = _hunt(lab(corners[:, :, None, None])).split(1)
    return _distance(green, blue).squeeze() ** _COLOR_POWER
