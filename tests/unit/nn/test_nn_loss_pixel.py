"""Losses of pixels and of edges on known pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fs_nn.losses import l_inf_norm, logcosh, pixel_gradient_diff, smooth_loss
from fs_nn.losses.pixel import general
from nn_pictures import noise, padded


def barron(difference, shape):
    """The general loss as the paper writes it, scale 1/255, times the scale."""
    bend = abs(2 - shape)
    inner = (difference * 255) ** 2 / bend + 1
    return bend / shape * (inner ** (shape / 2) - 1) / 255


def test_logcosh_is_the_logarithm_of_cosh_down_to_tiny_differences():
    difference = torch.tensor([1.0, 0.3, 1e-2, 1e-3, 1e-5, -0.5])
    expected = np.log1p(np.cosh(difference.double().numpy()) - 1)
    expected[4] = 0.5e-10
    result = logcosh(difference, torch.zeros(6)).numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_smooth_loss_is_barrons_charbonnier():
    difference = torch.linspace(-1, 1, 41).double()
    expected = (np.sqrt((difference.numpy() * 255) ** 2 + 1) - 1) / 255
    np.testing.assert_allclose(smooth_loss(difference, torch.zeros(41)), expected, atol=1e-12)
    np.testing.assert_allclose(general(difference, 1.9999), barron(difference.numpy(), 1.9999))


def test_f18_l_inf_takes_the_largest_over_height_and_width():
    """Faulty axes took it over channels and height, and so counted every column."""
    one, other = torch.zeros(2, 3, 6, 8), torch.zeros(2, 3, 6, 8)
    one[0, 0, 2, 5] = 0.9  # one pixel of one channel
    one[0, 1, 0, 0] = 0.3
    one[1] = 0.5
    torch.testing.assert_close(l_inf_norm(one, other), torch.tensor([(0.9 + 0.3) / 3, 0.5]))


def test_l_inf_of_noise():
    """With 64 x 64 values the largest difference of noise is near 1 (mean of 2,000 draws 0.985)."""
    value = l_inf_norm(noise(1, (16, 3, 64, 64)), noise(2, (16, 3, 64, 64)))
    assert value.mean().item() == pytest.approx(0.985, abs=0.005)


def test_the_faulty_axes_give_the_known_numbers_of_noise():
    """0.934 and 113.9 are known for the faulty axes, which pins the constants of both losses."""
    one, other = noise(3, (16, 3, 64, 64)), noise(4, (16, 3, 64, 64))

    def turned(pictures):  # channels where rows belong, rows where columns belong
        return pictures.permute(0, 3, 1, 2)

    value = l_inf_norm(turned(one), turned(other)).mean().item()
    assert value == pytest.approx(0.934, abs=0.005)
    value = pixel_gradient_diff(turned(one), turned(other)).mean().item()
    assert value == pytest.approx(113.9, abs=2 * 1.8)


def numpy_gradient_loss(p, t):
    d = padded(p - t, 1, "edge")
    at = {
        (y, x): d[..., 1 + y : d.shape[-2] - 1 + y, 1 + x : d.shape[-1] - 1 + x]
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    }
    dx, dy = (at[0, 1] - at[0, -1]) / 2, (at[1, 0] - at[-1, 0]) / 2
    dxx = at[0, 1] + at[0, -1] - 2 * at[0, 0]
    dyy = at[1, 0] + at[-1, 0] - 2 * at[0, 0]
    dxy = (at[1, 1] + at[-1, -1] - at[1, -1] - at[-1, 1]) / 4
    parts = [*(barron(part, 1.9999) for part in (dx, dy, dxx, dyy)), 2 * barron(dxy, 1.9999)]
    return sum(parts) / 2


def test_pixel_gradient_diff_is_the_formula():
    p, t = noise(1, (2, 3, 7, 9)), noise(2, (2, 3, 7, 9))
    expected = numpy_gradient_loss(p.double().numpy(), t.double().numpy())
    np.testing.assert_allclose(pixel_gradient_diff(p, t), expected, rtol=1e-4, atol=1e-3)


def test_f18_gradients_are_of_height_and_width_not_of_channels():
    flat = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    black = torch.zeros(1, 3, 8, 8)
    assert pixel_gradient_diff(flat, black).abs().max().item() == 0
    across = torch.zeros(1, 3, 8, 8)
    across[..., 4:] = 1.0
    value = pixel_gradient_diff(across, black)
    assert (value[..., :, 3:5] > 0).all()
    assert value[..., :, :3].abs().max().item() == value[..., :, 5:].abs().max().item() == 0
    down = pixel_gradient_diff(across.transpose(2, 3), black)
    torch.testing.assert_close(down, value.transpose(2, 3))
