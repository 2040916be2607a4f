"""Loss functions against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fs_kernel.errors import ConfigError
from fs_nn.losses import SSIM, mae, mse


def noise(seed, shape=(2, 3, 64, 64)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize(
    ("loss", "expected", "spread"),
    [(SSIM(), 0.998, 0.009), (mse, 0.167, 0.002), (mae, 0.334, 0.003)],
    ids=["ssim", "mse", "mae"],
)
def test_sanity_values_of_noise(loss, expected, spread):
    """The expected values are of one pair of pictures, so they may be off by about its spread."""
    value = loss(noise(3, (16, 3, 64, 64)), noise(4, (16, 3, 64, 64)))
    assert value.mean().item() == pytest.approx(expected, abs=spread)


@pytest.mark.parametrize("loss", [SSIM(), mse, mae], ids=["ssim", "mse", "mae"])
def test_identical_pictures_lose_nothing(loss):
    value = loss(noise(5), noise(5))
    assert value.shape == (2, 3, 64, 64)
    assert value.abs().max().item() < 1e-5


def test_ssim_reaches_beyond_one_for_opposite_pictures():
    stripes = torch.zeros(1, 1, 32, 32)
    stripes[..., ::2] = 1.0
    assert 1.9 < SSIM()(stripes, 1 - stripes).mean().item() <= 2.0


@pytest.mark.parametrize("loss", [SSIM().double(), mse, mae], ids=["ssim", "mse", "mae"])
def test_gradients_by_finite_differences(loss):
    p, t = noise(6, (1, 2, 7, 8)).double().requires_grad_(), noise(7, (1, 2, 7, 8)).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, t), (p,))


def test_ssim_says_when_a_picture_is_too_small():
    with pytest.raises(ConfigError, match="at least 6 pixels"):
        SSIM()(torch.rand(1, 3, 5, 5), torch.rand(1, 3, 5, 5))


def test_ssim_has_no_weights_to_save():
    assert not SSIM().state_dict()
