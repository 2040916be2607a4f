"""AdaBelief and Lion against plain NumPy, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fs_nn.optimizers import AdaBelief, Lion
from fs_nn.optimizers.adabelief import rectification
from torch.nn import Parameter

STEPS = 500
LR, EPS, DECAY = 1e-3, 1e-7, 0.02


def slopes(steps=STEPS, shape=(4, 3)):
    """Gradients with a common part, a growing spread, and a quiet stretch for amsgrad."""
    rng = np.random.RandomState(0)
    drawn = rng.standard_normal((steps, *shape)) * np.linspace(0.1, 2, steps)[:, None, None]
    drawn[steps // 2 : steps // 2 + 50] *= 0.01
    return drawn + 0.3


def descend(optimizer_class, weight, drawn, **settings):
    """The weight after every step, in float64."""
    parameter = Parameter(torch.from_numpy(weight.copy()))
    optimizer = optimizer_class([parameter], lr=LR, weight_decay=DECAY, **settings)
    path = []
    for gradient in drawn:
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    return np.stack(path), optimizer


def numpy_adabelief(weight, drawn, b1, b2, amsgrad):
    m = s = largest = np.zeros_like(weight)
    path = []
    for t, g in enumerate(drawn, 1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + EPS
        largest = np.maximum(largest, s)
        weight = weight * (1 - LR * DECAY)
        n_max = 2 / (1 - b2) - 1
        n = n_max - 2 * t * b2**t / (1 - b2**t)
        if n >= 5:
            r = (n - 4) * (n - 2) * n_max / ((n_max - 4) * n * (n_max - 2))
            rate = LR * np.sqrt((1 - b2**t) * r) / (1 - b1**t)
            weight = weight - rate * m / (np.sqrt(largest if amsgrad else s) + EPS)
        else:
            weight = weight - LR / (1 - b1**t) * m
        path.append(weight)
    return np.stack(path)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_f10_adabelief_is_the_papers_at_every_step(betas, amsgrad):
    start, drawn = np.linspace(-1, 1, 12).reshape(4, 3), slopes()
    path, _ = descend(AdaBelief, start, drawn, betas=betas, eps=EPS, amsgrad=amsgrad)
    expected = numpy_adabelief(start, drawn, *betas, amsgrad)
    np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-12)


def test_f10_rectification_follows_the_step():
    """A cached counter left half of all steps without it, and the rest with that of step 6..10."""
    assert [rectification(step, 0.999) is None for step in range(1, 9)] == [True] * 5 + [False] * 3
    factors = [rectification(step, 0.999) for step in (6, 10, 100, 500, 5000)]
    assert factors == sorted(factors)
    # At step 500 the approximated length is about 458 of 1999.
    length = 1999 - 2 * 500 * 0.999**500 / (1 - 0.999**500)
    assert length == pytest.approx(458, abs=1)
    ratio = (length - 4) * (length - 2) * 1999 / (1995 * 1997 * length)
    assert rectification(500, 0.999) == pytest.approx(((1 - 0.999**500) * ratio) ** 0.5)
    assert rectification(10**6, 0.999) == pytest.approx(1, abs=2e-3)
    assert all(rectification(step, 0.5) is None for step in (1, 10, 1000))


def test_f10_the_step_counter_is_a_plain_number_of_each_weight():
    _, optimizer = descend(AdaBelief, np.ones((4, 3)), slopes(12))
    late = Parameter(torch.ones(2, dtype=torch.float64))
    optimizer.add_param_group({"params": [late]})
    (first,) = optimizer.param_groups[0]["params"]
    first.grad, late.grad = torch.ones_like(first), torch.ones_like(late)
    optimizer.step()
    steps = [optimizer.state[weight]["step"] for weight in (first, late)]
    assert steps == [13, 1]
    assert all(type(step) is int for step in steps)


def test_f10_amsgrad_matters_in_the_rectified_branch():
    start, drawn = np.ones((4, 3)), slopes()
    plain, _ = descend(AdaBelief, start, drawn, amsgrad=False)
    largest, _ = descend(AdaBelief, start, drawn, amsgrad=True)
    np.testing.assert_array_equal(plain[:5], largest[:5])
    # In the quiet stretch the mean falls, the maximum does not.
    steps = [np.abs(np.diff(path[290:300], axis=0)).mean() for path in (plain, largest)]
    assert steps[1] < 0.99 * steps[0]


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.9, 0.999), (0.0, 0.5)])
def test_lion_is_the_papers_at_every_step(betas):
    start, drawn = np.linspace(-1, 1, 12).reshape(4, 3), slopes()
    path, _ = descend(Lion, start, drawn, betas=betas)
    (b1, b2), w, m, expected = betas, start, np.zeros_like(start), []
    for g in drawn:
        w = w * (1 - LR * DECAY)
        w = w - LR * np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        expected.append(w)
    np.testing.assert_allclose(path, np.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [AdaBelief, Lion])
def test_frames_of_torch_are_kept(make):
    parameter = Parameter(torch.ones(3))
    idle = Parameter(torch.ones(3))
    optimizer = make([parameter, idle], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3.0
    assert parameter.mean().item() < 1
    assert torch.equal(idle, torch.ones(3))
    assert idle not in optimizer.state
    for wrong in ({"lr": -1.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -0.1}):
        with pytest.raises(ValueError, match="must"):
            make([parameter], **wrong)
