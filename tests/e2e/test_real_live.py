"""Options changed while the built-in parts train, and samplers, through stops and resumes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_runs import losses, open_small, weights

CHANGES = {
    "warp off, a lower rate": {"augmentation.warp": False, "optimizer.learning_rate": 1e-6},
    "warp to landmarks, eyes count more": {
        "augmentation.warp_to_landmarks": True,
        "loss.eye_multiplier": 20,
    },
}


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory, people):
    """The losses of a run that nothing happened to."""
    return losses(open_small(tmp_path_factory.mktemp("unchanged") / "m", people))


def same_weights(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("name", CHANGES)
def test_F12_options_changed_at_a_step_are_a_stop_and_a_resume_with_them(
    tmp_path, people, unchanged, name
):
    whole = open_small(tmp_path / "whole", people)
    for option, value in CHANGES[name].items():
        whole.set_option(option, value, at_step=5)
    told = losses(whole)
    first = losses(open_small(tmp_path / "parts", people, **{"training.iterations": 4}))
    rest = losses(open_small(tmp_path / "parts", people, **CHANGES[name]))
    assert told == first + rest
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert unchanged[:4] == told[:4]
    assert unchanged[5:] != told[5:]


def test_F12_a_rate_changed_on_resume_is_the_one_used(tmp_path, people):
    losses(open_small(tmp_path / "m", people, **{"training.iterations": 2}))
    with open_small(tmp_path / "m", people, **{"optimizer.learning_rate": 3e-6}) as run:
        assert {metrics.learning_rate for metrics in run} == {3e-6}


@pytest.mark.parametrize("sampler", ["yaw", "loss"])
def test_samplers_go_on_to_the_bit_whatever_the_workers_and_the_depth(
    tmp_path, people, unchanged, sampler
):
    steps = 16
    options = {"trainer.standard.sampler": sampler, "training.iterations": steps}
    whole = losses(open_small(tmp_path / "whole", people, **options))
    parts = []
    for until, workers, depth in ((6, 0, 1), (11, 3, 6), (steps, 2, 2)):
        loader = {"loader.workers": workers, "loader.pre_fetch": depth}
        options |= {"training.iterations": until}
        parts += losses(open_small(tmp_path / "parts", people, **options, **loader))
    assert parts == whole
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert unchanged != whole[:8]


def test_the_average_is_found_in_the_checkpoint(tmp_path, people):
    run = open_small(tmp_path / "m", people, **{"optimizer.ema_decay": 0.9})
    losses(run)
    (name,) = {json.loads((tmp_path / "m" / "checkpoint.json").read_text())["generation"]}
    tree = run.session.resolved.checkpoints.read_training(name)
    averages = run.session.plugins.trainer.averaged_weights(tree["trainer"])
    known = weights(tmp_path / "m")
    assert averages
    assert set(averages) <= set(known)
    assert all(averages[n].shape == known[n].shape for n in averages)
    assert any(not np.array_equal(averages[n].numpy(), known[n]) for n in averages)
