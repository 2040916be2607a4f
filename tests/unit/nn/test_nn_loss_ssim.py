"""SSIM against an independent computation."""

from __future__ import annotations

import numpy as np
import torch
from fs_nn.losses import SSIM
from nn_pictures import noise


def brute_ssim(p, t):
    """1 - SSIM in float64 with a plain two-dimensional window, as the paper writes it."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(x):
        padded = np.pad(x, ((0, 0), (0, 0), (5, 5), (5, 5)), mode="reflect")
        views = np.lib.stride_tricks.sliding_window_view(padded, (11, 11), axis=(2, 3))
        return np.einsum("nchwij,ij->nchw", views, window)

    mu_p, mu_t = mean(p), mean(t)
    var_p, var_t = mean(p * p) - mu_p**2, mean(t * t) - mu_t**2
    covariance = mean(p * t) - mu_p * mu_t
    luminance = (2 * mu_p * mu_t + 1e-4) / (mu_p**2 + mu_t**2 + 1e-4)
    return 1 - luminance * (2 * covariance + 9e-4) / (var_p + var_t + 9e-4)


def test_ssim_is_the_papers():
    p, t = noise(1, (2, 3, 20, 17)), noise(2, (2, 3, 20, 17))
    t = 0.7 * t + 0.3 * p
    expected = brute_ssim(p.double().numpy(), t.double().numpy())
    np.testing.assert_allclose(SSIM()(p, t).numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(SSIM().double()(p.double(), t.double()).numpy(), expected, atol=1e-7)


def test_ssim_takes_channels_last_views():
    p, t = noise(1).permute(0, 2, 3, 1).contiguous(), noise(2).permute(0, 2, 3, 1).contiguous()
    views = SSIM()(p.permute(0, 3, 1, 2), t.permute(0, 3, 1, 2))
    torch.testing.assert_close(views, SSIM()(noise(1), noise(2)))


def test_ssim_reaches_beyond_one_for_opposite_pictures():
    stripes = torch.zeros(1, 1, 32, 32)
    stripes[..., ::2] = 1.0
    assert 1.9 < SSIM()(stripes, 1 - stripes).mean().item() <= 2.0
