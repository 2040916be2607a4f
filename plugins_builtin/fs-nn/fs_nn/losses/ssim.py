"""Structural similarity."""

from __future__ import annotations

import torch
from fs_kernel.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F

_RADIUS = 5
_SIGMA = 1.5
_C1 = 0.01**2
_C2 = 0.03**2


class SSIM(nn.Module):
    """``1 - SSIM`` of every pixel and channel, a map ``(n, c, h, w)`` with values 0..2.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity",
    with its constants: Gaussian window of 11 x 11 pixels and sigma 1.5, k1 = 0.01, k2 = 0.03, for
    pictures 0..1. Borders are mirrored, so the map has the size of the pictures.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
        window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
        self.register_buffer("window", (window / window.sum()).float(), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The map of one batch.

        Args:
            prediction: ``(n, c, h, w)``, 0..1, at least 6 pixels high and wide.
            target: the same.

        Raises:
            ConfigError: the pictures are too small for the window.
        """
        if min(prediction.shape[-2:]) <= _RADIUS:
            raise ConfigError(
                f"loss ssim needs pictures of at least {_RADIUS + 1} pixels; "
                "choose another loss for so small an output"
            )
        moments = torch.stack(
            (prediction, target, prediction * target, prediction.square() + target.square())
        )
        mean_p, mean_t, product, squares = self._blur(moments)
        means, mean_squares = mean_p * mean_t, mean_p.square() + mean_t.square()
        luminance = (2 * means + _C1) / (mean_squares + _C1)
        structure = (2 * (product - means) + _C2) / ((squares - mean_squares).clamp(min=0) + _C2)
        return 1 - luminance * structure

    def _blur(self, planes: Tensor) -> Tensor:
        # All planes as channels of one picture: several times quicker than as a batch of planes.
        flat = planes.reshape(1, -1, *planes.shape[-2:])
        count = flat.shape[1]
        flat = F.pad(flat, (_RADIUS,) * 4, mode="reflect")
        flat = F.conv2d(flat, self.window.view(1, 1, -1, 1).expand(count, -1, -1, -1), groups=count)
        flat = F.conv2d(flat, self.window.view(1, 1, 1, -1).expand(count, -1, -1, -1), groups=count)
        return flat.reshape(planes.shape)
