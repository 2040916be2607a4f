"""Whole runs: both paths learn the same, and a model belongs to neither."""

from __future__ import annotations

import pytest
import torch
from fast_cases import SMALL, SmallModel, close
from fast_runs import equal, open_run, saved, train
from fs_kernel.networks import weights as weights_of

#: No random numbers; shared parts; batch norm.
QUIET = {name: SmallModel(SMALL[name]) for name in ("lightweight", "dlight-good", "iae")}
#: Dropout, spatial dropout.
NOISY = {name: SmallModel(SMALL[name], dropout=1.0) for name in ("dlight-good", "unbalanced")}
LIGHT = QUIET["lightweight"]


@pytest.mark.parametrize("name", QUIET)
def test_twenty_steps_give_the_weights_of_the_plain_path(tmp_path, name):
    # Adam makes whole steps even of gradients that are nothing but rounding, unless they are small
    # beside epsilon.
    options = {"optimizer.epsilon_exponent": -3, "optimizer.learning_rate": 1e-4}
    losses, weights = train(tmp_path / "plain", QUIET[name], 20, "keras", **options)
    own_losses, own_weights = train(tmp_path / "torch", QUIET[name], 20, "torch", **options)
    assert own_losses == [pytest.approx(loss, rel=1e-3) for loss in losses]
    assert own_losses[-1] < own_losses[0]
    (tmp_path / "start").mkdir()
    with open_run(tmp_path / "start", QUIET[name], 1, "keras", **options) as run:
        start = {n: w.detach().clone() for n, w in weights_of(run.network).items()}
    moved = {n: (weights[n] - start[n]).abs().max().item() for n in weights}
    largest = max(moved.values())
    assert largest > 1e-4
    for weight, expected in weights.items():
        apart = (own_weights[weight] - expected).abs().max().item()
        assert apart < 1e-2 * max(moved[weight], 1e-2 * largest), weight


@pytest.mark.parametrize("name", NOISY)
def test_a_resumed_run_goes_on_to_the_bit(tmp_path, name):
    losses, weights = train(tmp_path / "straight", NOISY[name], 6, "torch")
    first, _ = train(tmp_path / "resumed", NOISY[name], 3, "torch")
    second, resumed = train(tmp_path / "resumed", NOISY[name], 6, "torch")
    assert first + second == losses
    assert equal(resumed, weights)


def test_random_numbers_are_those_of_the_plain_path(tmp_path):
    model = NOISY["unbalanced"]
    losses, _ = train(tmp_path / "plain", model, 4, "keras")
    assert train(tmp_path / "torch", model, 4, "torch")[0] == [
        pytest.approx(loss, rel=1e-3) for loss in losses
    ]


@pytest.mark.parametrize(("first", "second"), [("keras", "torch"), ("torch", "keras")])
def test_a_model_of_one_path_goes_on_in_the_other(tmp_path, first, second):
    losses, weights = train(tmp_path / "one", LIGHT, 8, first)
    train(tmp_path / "two", LIGHT, 4, first)
    rest, own = train(tmp_path / "two", LIGHT, 8, second)
    assert rest == [pytest.approx(loss, rel=1e-3) for loss in losses[4:]]
    assert all(close(own[name], weights[name], 5e-3) for name in weights)


def test_what_is_saved_is_what_was_built(tmp_path):
    """The file of a run that did no step has the weights of the plain path to the bit."""
    for executor in ("keras", "torch"):
        (tmp_path / executor).mkdir()
        with open_run(tmp_path / executor, LIGHT, 3, executor) as run:
            run.save()
    assert equal(saved(tmp_path / "keras"), saved(tmp_path / "torch"))


def test_a_frozen_sub_model_does_not_change(tmp_path):
    options = {"training.freeze_weights": True}
    _, weights = train(tmp_path / "torch", LIGHT, 1, "torch", **options)
    _, later = train(tmp_path / "torch", LIGHT, 4, "torch", **options)
    frozen = [name for name in weights if name.startswith("encoder/")]
    assert frozen
    assert all(torch.equal(weights[n], later[n]) for n in frozen)
    assert not all(torch.equal(weights[n], later[n]) for n in weights)


def test_average_clipping_and_accumulation_go_on_to_the_bit(tmp_path):
    options = {
        "optimizer.ema_decay": 0.9,
        "optimizer.gradient_clipping": "autoclip",
        "optimizer.gradient_accumulation": 2,
    }
    losses, weights = train(tmp_path / "straight", LIGHT, 7, "torch", **options)
    first, _ = train(tmp_path / "resumed", LIGHT, 3, "torch", **options)
    second, resumed = train(tmp_path / "resumed", LIGHT, 7, "torch", **options)
    assert first + second == losses
    assert equal(resumed, weights)


def test_previews_and_trials_leave_no_trace(tmp_path):
    losses, weights = train(tmp_path / "straight", LIGHT, 4, "torch")
    (tmp_path / "watched").mkdir()
    seen = []
    with open_run(tmp_path / "watched", LIGHT, 4, "torch") as run:
        for number, metrics in enumerate(run):
            seen.append(tuple(metrics.losses.values()))
            run.request_preview(2)
            if number == 1:
                with run.trial() as trial:
                    trial.step()
                run.steps.start_feed()
    assert seen == losses
    assert equal(saved(tmp_path / "watched"), weights)
