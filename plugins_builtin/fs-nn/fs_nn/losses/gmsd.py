"""Similarity of gradient magnitudes."""

from __future__ import annotations

import torch
from fs_kernel.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F

_RADIUS = 2
_C = 0.0025
#: Upper half of a 5 x 5 derivative filter; the lower half is its negative (D. J. Kroon 2009,
#: "Numerical optimization of kernel based image derivatives").
_UPPER = (
    (0.0007, 0.0052, 0.0370, 0.0052, 0.0007),
    (0.0037, 0.1187, 0.2589, 0.1187, 0.0037),
)


class GMSD(nn.Module):
    """One minus the similarity of the pictures' gradients, a map ``(n, 1, h, w)``.

    The similarity measure of Xue et al. 2014, "Gradient magnitude similarity deviation", taken of
    the vertical and the horizontal derivative of each channel apart and averaged; the map takes the
    place of the paper's deviation over the picture, so that masks can be applied.
    """

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        upper = torch.tensor(_UPPER)
        vertical = torch.cat((upper, torch.zeros(1, 5), -upper.flip(0)))
        filters = torch.stack((vertical, vertical.T))[:, None]
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the map of one batch.

        Args:
            prediction: ``(n, c, h, w)``, 0..1, at least 3 pixels high and wide.
            target: the same.

        Raises:
            ConfigError: the pictures are too small for the filter.
        """
        if min(prediction.shape[-2:]) <= _RADIUS:
            raise ConfigError(f"loss gmsd needs pictures of at least {_RADIUS + 1} pixels")
        one, other = self._derivatives(prediction), self._derivatives(target)
        similarity = (2 * one * other + _C) / (one.square() + other.square() + _C)
        return 1 - similarity.mean(dim=1, keepdim=True)

    def _derivatives(self, pictures: Tensor) -> Tensor:
        """Return both directions of every channel, ``(n, 2 * c, h, w)``."""
        padded = F.pad(pictures, (_RADIUS,) * 4, mode="reflect")
        channels = pictures.shape[1]
        return F.conv2d(padded, self.filters.repeat(channels, 1, 1, 1), groups=channels)
