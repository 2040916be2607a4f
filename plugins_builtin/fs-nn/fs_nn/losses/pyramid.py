"""A loss of bands of detail."""

from __future__ import annotations

import torch
from fs_kernel.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F

from fs_nn.losses.filters import gaussian, resize, separable

_LEVELS = 5
_RADIUS = 2
_SIGMA = 1.0
_SMALLEST = 2**_LEVELS


class LapLoss(nn.Module):
    """Differences in the levels of a Laplacian pyramid, a map ``(n, c, h, w)``.

    Burt and Adelson 1983; as a loss Bojanowski et al. 2018, "Optimizing the latent space of
    generative networks". Five bands and the rest, Gaussian of 5 x 5 pixels and sigma 1. The
    absolute differences of level k = 0..5 are brought to full size, weighted by ``2^(-2k)`` and
    added.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", gaussian(_RADIUS, _SIGMA).float(), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the map of one batch.

        Args:
            prediction: ``(n, c, h, w)``, 0..1, at least 32 pixels high and wide.
            target: the same.

        Raises:
            ConfigError: the pictures are too small for five levels.
        """
        if min(prediction.shape[-2:]) < _SMALLEST:
            raise ConfigError(
                f"loss laploss needs pictures of at least {_SMALLEST} pixels; "
                "choose another loss for so small an output"
            )
        # The pyramid is linear, so that of the difference is the difference of the two.
        rest = prediction - target
        total = torch.zeros_like(rest)
        for level in range(_LEVELS):
            padded = F.pad(rest, (_RADIUS,) * 4, mode="replicate")
            blurred = separable(padded, self.window, self.window)
            total = total + resize((rest - blurred).abs(), total) * 2.0 ** (-2 * level)
            rest = F.avg_pool2d(blurred, 2)
        return total + resize(rest.abs(), total) * 2.0 ** (-2 * _LEVELS)
