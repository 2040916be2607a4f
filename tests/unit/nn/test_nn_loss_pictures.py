"""Losses of structure, bands and frequencies against plain computations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fs_nn.losses import GMSD, MSSSIM, FocalFrequency, LapLoss
from nn_pictures import correlate, enlarged, gaussian, halved, noise, padded

POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pair(size, seed=1):
    t = noise(seed, (2, 3, size, size))
    return 0.6 * t + 0.4 * noise(seed + 1, t.shape), t


def numpy_ms_ssim(p, t, radius):
    window, size, product = gaussian(radius, 1.5), p.shape[-1], 1.0
    for scale, exponent in enumerate(POWERS):
        mu_p, mu_t = correlate(p, window), correlate(t, window)
        variances = correlate(p * p + t * t, window) - mu_p**2 - mu_t**2
        kept = (2 * (correlate(p * t, window) - mu_p * mu_t) + 9e-4) / (variances + 9e-4)
        if scale == 4:
            kept *= (2 * mu_p * mu_t + 1e-4) / (mu_p**2 + mu_t**2 + 1e-4)
        product = product * np.maximum(enlarged(kept, size), 0) ** exponent
        if scale < 4:
            p, t = halved(p), halved(t)
    return 1 - product


@pytest.mark.parametrize(("size", "radius"), [(48, 1), (80, 2), (176, 5)])
def test_ms_ssim_is_the_formula_and_its_window_fits_the_size(size, radius):
    p, t = (x[:1, :1] for x in pair(size))
    expected = numpy_ms_ssim(p.double().numpy(), t.double().numpy(), radius)
    np.testing.assert_allclose(MSSSIM().double()(p.double(), t.double()), expected, atol=1e-6)


def test_the_window_of_ms_ssim_is_chosen_anew_for_every_output():
    """A size seen first must not decide for those that come after."""
    loss = MSSSIM()
    alone = MSSSIM()(*pair(192))
    loss(*pair(48))
    torch.testing.assert_close(loss(*pair(192)), alone)


def test_ms_ssim_takes_odd_sizes():
    value = MSSSIM()(*(noise(seed, (1, 3, 67, 53)) for seed in (1, 2)))
    assert value.shape == (1, 3, 67, 53)
    assert torch.isfinite(value).all()


def test_gmsd_is_the_formula():
    upper = np.array([[7, 52, 370, 52, 7], [37, 1187, 2589, 1187, 37]]) / 1e4
    kernel = np.concatenate([upper, np.zeros((1, 5)), -upper[::-1]])
    p, t = pair(20)
    similarity = []
    for direction in (kernel, kernel.T):
        one, other = (
            correlate(padded(x.double().numpy(), 2, "reflect"), direction) for x in (p, t)
        )
        similarity.append((2 * one * other + 0.0025) / (one**2 + other**2 + 0.0025))
    expected = 1 - np.concatenate(similarity, axis=1).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(GMSD()(p, t), expected, atol=2e-5)


def test_gmsd_sees_edges_of_either_direction_and_no_brightness():
    edge, black = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    edge[..., 8:] = 1.0
    across, down = GMSD()(edge, black), GMSD()(edge.transpose(2, 3), black)
    torch.testing.assert_close(across, down.transpose(2, 3))
    assert across[..., 7:9].min() > 0.4
    assert across[..., :5].abs().max().item() == 0
    assert GMSD()(black + 0.4, black).abs().max().item() < 1e-5


def test_laploss_is_the_formula():
    p, t = pair(64)
    rest, expected = (p - t).double().numpy(), 0.0
    for level in range(5):
        blurred = correlate(padded(rest, 2, "edge"), gaussian(2, 1.0))
        expected = expected + enlarged(np.abs(rest - blurred), 64) / 4**level
        rest = halved(blurred)
    expected = expected + enlarged(np.abs(rest), 64) / 4**5
    np.testing.assert_allclose(LapLoss()(p, t), expected, atol=1e-6)


def test_ffl_is_the_formula_and_its_weight_gets_no_gradient():
    p, t = (x[..., :12, :16] for x in pair(16))
    p.requires_grad_()
    value = FocalFrequency()(p, t)
    spectrum = np.fft.fft2((p - t).detach().double().numpy(), norm="ortho")
    distance = np.abs(spectrum) ** 2
    weight = np.abs(spectrum) / (np.abs(spectrum).max(axis=(2, 3), keepdims=True) + 1e-6)
    np.testing.assert_allclose(value.detach(), weight * distance, atol=1e-6)
    value.sum().backward()
    # d/dp of sum(w |F d|^2) with fixed w is 2 F^-1(w F d), F being orthonormal.
    expected = 2 * np.fft.ifft2(weight * spectrum, norm="ortho").real
    np.testing.assert_allclose(p.grad, expected, atol=1e-6)


def test_f19_ffl_asks_for_masked_pictures():
    """Its map has no pixels: the loss of a shifted detail does not stay where the detail is."""
    assert FocalFrequency.masks_input
    dot, black = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    dot[..., 3, 3] = 1.0
    value = FocalFrequency()(dot, black)
    assert value.max().item() == pytest.approx(value.min().item(), rel=1e-3)
