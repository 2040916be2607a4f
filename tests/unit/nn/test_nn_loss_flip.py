"""FLIP against the numbers of Nvidia's own program."""

from __future__ import annotations

import pytest
import torch
from fs_nn.losses import FLIP
from fs_nn.losses.color import from_ycxcz, lab, linear_rgb, ycxcz
from nn_pictures import noise, waves

#: flip-evaluator 1.7 (PyPI), LDR, 67.02 pixels per degree, on `waves(48, ...)`: the mean, and the
#: pixels (0, 0), (10, 40), (24, 24), (47, 3).
NVIDIA = {
    (0.0, 1.0): (0.8621789, (0.9338854, 0.9688216, 0.9790828, 0.9422620)),
    (0.3, 0.35): (0.2161776, (0.2133023, 0.3323961, 0.2806173, 0.1953859)),
}


@pytest.mark.parametrize("phases", NVIDIA)
def test_it_is_nvidias(phases):
    mean, pixels = NVIDIA[phases]
    value = FLIP()(*(waves(48, phase) for phase in phases))[0, 0]
    assert value.mean().item() == pytest.approx(mean, abs=2e-5)
    found = [value[place].item() for place in ((0, 0), (10, 40), (24, 24), (47, 3))]
    assert found == pytest.approx(pixels, abs=2e-5)


def test_it_asks_for_rgb_and_the_order_matters():
    one, other = waves(32, 0.0), waves(32, 1.0)
    assert FLIP.color_order == "rgb"
    turned = FLIP()(one.flip(1), other.flip(1)).mean().item()
    assert turned != pytest.approx(FLIP()(one, other).mean().item(), abs=1e-3)


def test_the_largest_difference_is_one():
    green, blue = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    green[:, 1], blue[:, 2] = 1, 1
    assert FLIP()(green, blue).mean().item() == pytest.approx(1.0, abs=1e-4)


def test_colour_spaces():
    white = torch.ones(1, 3, 1, 1).double()
    torch.testing.assert_close(ycxcz(white).flatten(), torch.tensor([100.0, 0, 0]).double())
    torch.testing.assert_close(lab(white).flatten(), torch.tensor([100.0, 0, 0]).double())
    assert linear_rgb(torch.tensor(0.5)).item() == pytest.approx(0.2140411, abs=1e-6)
    pictures = noise(1, (1, 3, 8, 8)).double()
    torch.testing.assert_close(from_ycxcz(ycxcz(pictures)), pictures)
    red = torch.tensor([1.0, 0, 0]).double().view(1, 3, 1, 1)
    expected = torch.tensor([53.2408, 80.0925, 67.2032]).double()  # CIELAB of sRGB red, D65
    torch.testing.assert_close(lab(red).flatten(), expected, atol=2e-2, rtol=0)
