"""A loss of frequencies."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

_EPSILON = 1e-6


class FocalFrequency:
    """Distance of spectra, hard frequencies counting more; a map ``(n, c, h, w)`` of frequencies.

    Jiang et al. 2021, "Focal frequency loss for image reconstruction and synthesis" (alpha 1): the
    squared distance of every frequency, times its root relative to the largest of the channel. As
    in the paper that weight gets no gradient. The map's pixels are frequencies, so masks must be
    applied to the pictures.
    """

    masks_input = True
    WAIVED: ClassVar[dict[str, str]] = {
        "test_gradients_agree_with_finite_differences": "as in its paper, the weight of a "
        "frequency depends on the pictures but gets no gradient"
    }

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the map of one batch of ``(n, c, h, w)``, 0..1."""
        spectrum = torch.fft.fft2(prediction - target, norm="ortho")
        distance = spectrum.real.square() + spectrum.imag.square()
        root: Tensor = distance.detach().sqrt()
        weight = root / (root.amax(dim=(2, 3), keepdim=True) + _EPSILON)
        weighted: Tensor = weight.clamp(max=1) * distance
        return weighted
