"""Structural similarity on several scales."""

from __future__ import annotations

import torch
from fs_kernel.errors import ConfigError
from torch import Tensor, nn

from fs_nn.losses.filters import mean_pool, power, resize
from fs_nn.losses.ssim import RADIUS, paper_window, similarity

#: The paper's weights of the scales, finest first.
_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_HALVINGS = 2 ** (len(_POWERS) - 1)
_SMALLEST = 2 * _HALVINGS + 1
_FLAT = 1e-4


class MSSSIM(nn.Module):
    """``1 - MS-SSIM`` of every pixel and channel, a map ``(n, c, h, w)`` with values 0..1.

    Wang et al. 2003, "Multiscale structural similarity for image quality assessment": contrast and
    structure of four scales and the full SSIM of the fifth, each brought to full size before they
    are multiplied, so that masks can be applied. Windows lie inside the picture; negative
    similarity counts as none.

    The window of 11 pixels fits the fifth scale of pictures from 161 pixels up. For smaller
    pictures it shrinks to the largest odd size that fits, separately for every output size.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", paper_window().float(), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the map of one batch.

        Args:
            prediction: ``(n, c, h, w)``, 0..1, at least 33 pixels high and wide.
            target: the same.

        Raises:
            ConfigError: the pictures are too small for five scales.
        """
        edge = min(prediction.shape[-2:])
        if edge < _SMALLEST:
            raise ConfigError(
                f"loss ms_ssim needs pictures of at least {_SMALLEST} pixels; "
                "choose another loss, such as ssim, for so small an output"
            )
        window = self._window_for(-(-edge // _HALVINGS))
        full = torch.ones_like(prediction)
        pair = (prediction, target)
        for scale, exponent in enumerate(_POWERS):
            luminance, structure = similarity(*pair, window)
            last = scale == len(_POWERS) - 1
            kept = resize(luminance * structure if last else structure, prediction)
            full = full * power(kept.relu(), exponent, _FLAT)
            if not last:
                pair = mean_pool(pair[0]), mean_pool(pair[1])
        return 1 - full

    def _window_for(self, smallest: int) -> Tensor:
        radius = min(RADIUS, (smallest - 1) // 2)
        window = self.window[RADIUS - radius : RADIUS + radius + 1]
        return window / window.sum()
