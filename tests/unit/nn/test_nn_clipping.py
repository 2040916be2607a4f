"""Bounds for gradients, and the history of autoclip."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from fs_kernel.errors import ConfigError
from fs_kernel.options import CommandLineSource, resolve
from fs_nn.clipping import (
    AutoClip,
    build_clip,
    clip_each_norm,
    clip_global_norm,
    clip_values,
    global_norm,
)
from fs_nn.options import OptimizerOptions
from nn_weights import copies, equal, make, train, weights

CPU = torch.device("cpu")


def drawn(seed=0, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=rng) * scale for shape in ((3, 4), (5,), (2, 2, 2))]


def norms(gradients):
    return [float(np.linalg.norm(g.double().numpy())) for g in gradients]


def test_value_cuts_every_number():
    gradients = drawn()
    expected = [g.clamp(-0.5, 0.5) for g in gradients]
    clip_values(gradients, 0.5)
    assert all(torch.equal(g, e) for g, e in zip(gradients, expected, strict=True))


def test_norm_scales_each_gradient_by_itself():
    gradients, before = drawn(), drawn()
    limit = sorted(norms(before))[1]
    clip_each_norm(gradients, limit)
    for after, original, norm in zip(gradients, before, norms(before), strict=True):
        torch.testing.assert_close(after, original * min(1, limit / norm))


def test_global_norm_scales_all_alike():
    gradients, before = drawn(), drawn()
    total = float(np.sqrt(sum(n**2 for n in norms(before))))
    assert global_norm(gradients).item() == pytest.approx(total, rel=1e-6)
    clip_global_norm(gradients, 1.0)
    for after, original in zip(gradients, before, strict=True):
        torch.testing.assert_close(after, original / total)
    clip_global_norm(gradients, 2.0)
    assert global_norm(gradients).item() == pytest.approx(1.0)


def test_gradients_that_are_not_finite_spoil_no_others():
    for clip in (
        lambda g: clip_global_norm(g, 0.1),
        lambda g: clip_each_norm(g, 1e9),
        AutoClip(10, 0, CPU),
    ):
        gradients, before = drawn(), drawn()
        gradients[1][2] = torch.nan
        clip(gradients)
        torch.testing.assert_close(gradients[0], before[0])
        torch.testing.assert_close(gradients[2], before[2])
        assert torch.isnan(gradients[1][2])


def test_no_gradient_at_all_stays_none():
    gradients = [torch.zeros(3), torch.zeros(2)]
    for clip in (lambda g: clip_global_norm(g, 1.0), lambda g: clip_each_norm(g, 1.0)):
        clip(gradients)
        assert not any(g.any() for g in gradients)
    clip = AutoClip(10, 5, CPU)
    clip(gradients)
    assert not any(g.any() for g in gradients)


@pytest.mark.parametrize("percentile", [0, 10, 33, 50, 100])
@pytest.mark.parametrize("history", [1, 7, 0])
def test_autoclip_cuts_to_the_percentile_of_its_history(percentile, history):
    clip = AutoClip(percentile, history, CPU)
    seen = []
    for step in range(30):
        gradients = drawn(step, 1 + step % 5)
        norm = global_norm(gradients).item()
        seen.append(norm)
        clip(gradients)
        limit = np.percentile(seen[-history:] if history else seen, percentile)
        assert global_norm(gradients).item() == pytest.approx(min(norm, limit), rel=1e-5)


def test_f11_a_history_of_zero_is_all_of_it():
    """It grows beyond its first room, and nothing is forgotten."""
    clip = AutoClip(50, 0, CPU)
    rng = np.random.RandomState(0)
    seen = rng.uniform(0.5, 2, 2500).astype(np.float32)
    for norm in seen:
        gradient = torch.tensor([float(norm)])
        clip([gradient])
    assert gradient.item() == pytest.approx(min(seen[-1], np.percentile(seen, 50)), rel=1e-5)
    np.testing.assert_array_equal(clip.state_dict()["norms"], seen)


def test_autoclip_does_not_remember_what_is_not_finite():
    clip = AutoClip(50, 3, CPU)
    for value in (1.0, float("inf"), 2.0, float("nan"), 3.0, 4.0):
        clip([torch.tensor([value])])
    assert clip.state_dict()["norms"].tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("history", [4, 0])
@pytest.mark.parametrize("before", [3, 4, 9, 1030])
def test_autoclip_goes_on_from_its_state(history, before):
    straight, stopped = AutoClip(25, history, CPU), AutoClip(25, history, CPU)
    for step in range(before):
        for clip in (straight, stopped):
            clip(drawn(step))
    resumed = AutoClip(25, history, CPU)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    for step in range(before, before + 6):
        one, two = drawn(step, 2.0), drawn(step, 2.0)
        straight(one)
        resumed(two)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_shorter_history_keeps_the_newest():
    long, short = AutoClip(50, 0, CPU), AutoClip(50, 3, CPU)
    for value in range(1, 9):
        long([torch.tensor([float(value)])])
    short.load_state_dict(long.state_dict())
    assert short.state_dict()["norms"].tolist() == [6.0, 7.0, 8.0]
    short([torch.tensor([9.0])])
    assert short.state_dict()["norms"].tolist() == [7.0, 8.0, 9.0]


# --- as options ---


@pytest.mark.parametrize("kind", ["value", "norm", "global_norm", "autoclip"])
def test_each_kind_bounds_a_runs_gradients(kind):
    """Under plain SGD the weights move by the gradients themselves."""

    def sgd(params, lr, weight_decay):
        return torch.optim.SGD(params, lr=lr, weight_decay=weight_decay)

    parameters, start = weights(), weights()
    # The 20th percentile of the autoclip's first norm is that norm itself.
    options = {"gradient_clipping": kind, "clipping_value": 2.0}
    train(make(parameters, sgd, learning_rate=1e-4, **options), parameters, 1)
    moved = {n: ((start[n] - p) / 1e-4).detach() for n, p in parameters.items()}
    free = weights()
    train(make(free, sgd, learning_rate=1e-4), free, 1)
    plain = {n: ((start[n] - p) / 1e-4).detach() for n, p in free.items()}
    clipped = list({n: g.clone() for n, g in plain.items()}.values())
    if kind != "autoclip":
        build_clip(OptimizerOptions(**options), CPU)(clipped)
        assert not all(torch.equal(a, b) for a, b in zip(clipped, plain.values(), strict=True))
    for one, other in zip(clipped, moved.values(), strict=True):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0)


def test_a_tenth_of_the_percentile_and_the_history_come_from_the_options():
    options = OptimizerOptions(gradient_clipping="autoclip", clipping_value=5.7, autoclip_history=3)
    clip = build_clip(options, CPU)
    assert (clip._percentile, len(clip._norms)) == (57, 3)
    assert build_clip(OptimizerOptions(), CPU) is None


@pytest.mark.parametrize("kind", ["value", "norm", "global_norm"])
def test_a_limit_of_nothing_is_refused(kind):
    with pytest.raises(ConfigError, match="would leave no gradient"):
        OptimizerOptions(gradient_clipping=kind, clipping_value=0.0)
    OptimizerOptions(gradient_clipping="autoclip", clipping_value=0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gradient_clipping", "global"),
        ("clipping_value", 10.1),
        ("autoclip_history", -1),
        ("gradient_accumulation", 0),
        ("gradient_accumulation", 101),
        ("warmup_steps", -1),
        ("ema_decay", 1.0),
    ],
)
def test_ranges_are_enforced(key, value):
    with pytest.raises(ConfigError, match=rf"optimizer\.{key}"):
        resolve(
            {"optimizer": OptimizerOptions},
            [CommandLineSource("--set", {"optimizer": {key: value}})],
        )


def test_f11_a_resumed_run_clips_as_one_that_was_never_stopped():
    options = {"gradient_clipping": "autoclip", "clipping_value": 3.0, "autoclip_history": 0}
    straight = weights()
    optimizer = make(straight, **options)
    train(optimizer, straight, 5)
    kept, state = copies(straight), copy.deepcopy(optimizer.state_dict())
    train(optimizer, straight, 4, seed=2)
    resumed = make(kept, **options)
    resumed.load_state_dict(state)
    train(resumed, kept, 4, seed=2)
    assert equal(straight, kept)


def test_state_of_another_kind_of_clipping_is_passed_over():
    parameters = weights()
    optimizer = make(parameters, gradient_clipping="autoclip")
    train(optimizer, parameters, 2)
    for kind in ("none", "norm"):
        other = make(weights(), gradient_clipping=kind)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        back = make(weights(), gradient_clipping="autoclip")
        back.load_state_dict(copy.deepcopy(other.state_dict()))
        assert len(back.state_dict()["clipping"]["norms"]) == 0
