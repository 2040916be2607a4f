"""What holds for every loss: known averages, nothing for equal pictures, true gradients."""

from __future__ import annotations

import importlib.metadata

import pytest
import torch
from fs_kernel.errors import ConfigError
from fs_nn import losses
from nn_pictures import noise

LOSSES = {
    "ffl": losses.FocalFrequency(),
    "flip": losses.FLIP(),
    "gmsd": losses.GMSD(),
    "l_inf_norm": losses.l_inf_norm,
    "laploss": losses.LapLoss(),
    "logcosh": losses.logcosh,
    "mae": losses.mae,
    "ms_ssim": losses.MSSSIM(),
    "mse": losses.mse,
    "pixel_gradient_diff": losses.pixel_gradient_diff,
    "smooth_loss": losses.smooth_loss,
    "ssim": losses.SSIM(),
}
#: Edge in pixels, and the value for two pictures of noise with its spread between pairs. The values
#: are of one pair; l_inf_norm and pixel_gradient_diff have axes of their own below.
KNOWN = {
    "ssim": (64, 0.998, 0.008),
    "mse": (64, 0.167, 0.0017),
    "mae": (64, 0.334, 0.0022),
    "logcosh": (64, 0.078, 0.0008),
    "smooth_loss": (64, 0.330, 0.0018),
    "gmsd": (64, 0.810, 0.0061),
    "laploss": (64, 0.305, 0.0022),
    "ffl": (64, 0.075, 0.0033),
    "flip": (64, 0.442, 0.0066),
    "ms_ssim": (192, 0.951, 0.0047),
}
SMALLEST = {"ms_ssim": 33, "laploss": 32, "ssim": 6, "gmsd": 3}


@pytest.mark.parametrize("name", KNOWN)
def test_noise_loses_what_it_is_known_to(name):
    """The mean over several pairs lies within one and a half spreads of the one known pair."""
    size, expected, spread = KNOWN[name]
    count = 16 if size == 64 else 4
    value = LOSSES[name](noise(3, (count, 3, size, size)), noise(4, (count, 3, size, size)))
    assert value.mean().item() == pytest.approx(expected, abs=1.5 * spread)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_pictures_lose_nothing_and_their_gradient_is_finite(name):
    pictures = noise(5).requires_grad_()
    value = LOSSES[name](pictures, noise(5))
    assert value.abs().max().item() < 1e-5
    value.mean().backward()
    assert torch.isfinite(pictures.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_black_and_white_pictures_have_finite_gradients(name):
    pictures = torch.zeros(1, 3, 64, 64, requires_grad=True)
    half_white = torch.zeros(1, 3, 64, 64)
    half_white[..., 32:] = 1.0
    value = LOSSES[name](pictures, half_white)
    value.mean().backward()
    assert value.mean().item() > 0.01
    assert torch.isfinite(pictures.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_result_has_one_of_the_two_forms(name):
    shape = tuple(LOSSES[name](noise(1, (2, 3, 48, 64)), noise(2, (2, 3, 48, 64))).shape)
    assert shape in ((2, 3, 48, 64), (2, 1, 48, 64), (2,))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"ffl"}))
def test_gradients_by_finite_differences(name):
    """ffl is left out: its weight gets no gradient on purpose (see test_nn_loss_pictures)."""
    loss = LOSSES[name]
    if isinstance(loss, torch.nn.Module):
        loss = type(loss)().double()
    size = max(SMALLEST.get(name, 8), 8)
    channels = 3 if name == "flip" else 1
    target = noise(7, (1, channels, size, size)).double()
    prediction = (0.7 * target + 0.3 * noise(6, target.shape).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (prediction,), fast_mode=True)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_picture_that_is_too_small_is_said(name):
    edge = SMALLEST[name]
    LOSSES[name](noise(1, (1, 3, edge, edge)), noise(2, (1, 3, edge, edge)))
    with pytest.raises(ConfigError, match=f"{name} needs pictures of at least {edge} pixels"):
        LOSSES[name](noise(1, (1, 3, edge - 1, edge)), noise(2, (1, 3, edge - 1, edge)))


def test_no_loss_has_weights_to_save():
    modules = [loss for loss in LOSSES.values() if isinstance(loss, torch.nn.Module)]
    assert len(modules) == 5
    assert not any(module.state_dict() for module in modules)


def test_every_loss_is_installed_under_its_name():
    entries = importlib.metadata.distribution("fs-nn").entry_points
    installed = {e.name: e.load() for e in entries.select(group="fs_kernel.losses")}
    lpips = {"lpips_alex", "lpips_squeeze", "lpips_vgg16"}
    assert set(installed) == {*LOSSES, *lpips}
    for name, loss in LOSSES.items():
        assert installed[name] in (loss, type(loss))
    assert all(installed[name].name == name for name in lpips)
