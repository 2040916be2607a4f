"""Phases in runs of the built-in parts."""

from __future__ import annotations

import numpy as np
import pytest
from addon_runs import events, losses, open_with
from fs_kernel import hookimpl
from fs_kernel.errors import ConfigError
from small_runs import weights

WARP_OFF = "4: augmentation.warp=false"
RATE = "6: optimizer.learning_rate=1e-5"


def same(left, right):
    one, other = weights(left), weights(right)
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory, people):
    """What one does without phases: stop, resume with another option, stop, resume, ..."""
    model = tmp_path_factory.mktemp("by_hand") / "m"
    seen = losses(open_with(model, people, [], **{"training.iterations": 4}))
    off = {"training.iterations": 6, "augmentation.warp": False}
    seen += losses(open_with(model, people, [], **off))
    lower = {"training.iterations": 8, "optimizer.learning_rate": 1e-5}
    return seen + losses(open_with(model, people, [], **lower)), model


PHASES = {"addon.phases.phases": [WARP_OFF, RATE]}


def test_a_run_with_phases_equals_one_stopped_and_resumed_to_the_bit(tmp_path, people, by_hand):
    seen, model = by_hand
    assert losses(open_with(tmp_path / "m", people, ["phases"], **PHASES)) == seen
    assert same(tmp_path / "m", model)
    changed = [(e["step"], e["name"], e["value"]) for e in events(tmp_path / "m", "option")]
    assert (4, "augmentation.warp", False) in changed
    assert (6, "optimizer.learning_rate", 1e-5) in changed


def test_without_them_it_would_be_another(tmp_path, people, by_hand):
    assert losses(open_with(tmp_path / "m", people, []))[4:] != by_hand[0][4:]


@pytest.mark.parametrize("stop", [3, 4, 5, 7])
def test_stopping_anywhere_changes_nothing(tmp_path, people, by_hand, stop):
    first = PHASES | {"training.iterations": stop}
    seen = losses(open_with(tmp_path / "m", people, ["phases"], **first))
    # The second session is given the very same options again, as a scheduler would.
    again = PHASES | {"augmentation.warp": True, "optimizer.learning_rate": 5e-5}
    seen += losses(open_with(tmp_path / "m", people, ["phases"], **again))
    assert seen == by_hand[0]
    assert same(tmp_path / "m", by_hand[1])


class Failing:
    """Calls step 7 bad once, and votes for going back."""

    name = "failing"

    def __init__(self):
        self.failed = False

    @hookimpl
    def create_addon(self, run):
        return self

    def check_metrics(self, metrics):
        if metrics.step == 7 and not self.failed:
            self.failed = True
            return "it is a test"
        return None

    def on_bad_step(self, report):
        return True


@pytest.mark.parametrize("interval", [3, 4, 5])
def test_a_roll_back_before_a_phase_repeats_it(tmp_path, people, by_hand, interval):
    addons = ["phases", Failing()]
    run = open_with(tmp_path / "m", people, addons, **PHASES, **{"save.interval": interval})
    assert losses(run) == by_hand[0]
    assert addons[1].failed
    assert same(tmp_path / "m", by_hand[1])


def test_what_cannot_be_changed_is_said_before_the_first_step(tmp_path, people):
    phases = ["2: augmentation.wrap=false", "3: optimizer.optimizer=lion"]
    with pytest.raises(ConfigError) as error:
        open_with(tmp_path / "m", people, ["phases"], **{"addon.phases.phases": phases})
    assert len(error.value.problems) == 2
    assert "did you mean 'warp'" in error.value.problems[0]
    assert not (tmp_path / "m").exists()
