"""Structural similarity."""

from __future__ import annotations

import torch
from fs_kernel.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F

from fs_nn.losses.filters import gaussian, separable

#: The window of the paper: 11 x 11 pixels.
RADIUS = 5
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
        self.register_buffer("window", paper_window().float(), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the map of one batch.

        Args:
            prediction: ``(n, c, h, w)``, 0..1, at least 6 pixels high and wide.
            target: the same.

        Raises:
            ConfigError: the pictures are too small for the window.
        """
        if min(prediction.shape[-2:]) <= RADIUS:
            raise ConfigError(
                f"loss ssim needs pictures of at least {RADIUS + 1} pixels; "
                "choose another loss for so small an output"
            )
        mirrored = [F.pad(x, (RADIUS,) * 4, mode="reflect") for x in (prediction, target)]
        luminance, structure = similarity(mirrored[0], mirrored[1], self.window)
        return 1 - luminance * structure


def paper_window() -> Tensor:
    """Return the paper's window along one axis, ``(11,)`` float64."""
    return gaussian(RADIUS, _SIGMA)


def similarity(prediction: Tensor, target: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two factors of SSIM, luminance and contrast times structure, inside.

    Args:
        prediction: ``(n, c, h, w)``, at least as large as the window.
        target: the same.
        window: ``(k,)``, of sum 1.

    Returns:
        Two maps ``(n, c, h - k + 1, w - k + 1)``.
    """
    moments = torch.stack(
        (prediction, target, prediction * target, prediction.square() + target.square())
    )
    blurred = separable(moments.flatten(0, 1), window, window)
    mean_p, mean_t, product, squares = blurred.unflatten(0, moments.shape[:2])
    means, mean_squares = mean_p * mean_t, mean_p.square() + mean_t.square()
    luminance = (2 * means + _C1) / (mean_squares + _C1)
    structure = (2 * (product - means) + _C2) / ((squares - mean_squares).clamp(min=0) + _C2)
    return luminance, structure
