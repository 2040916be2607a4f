"""The guard as the kernel sees it: what it calls bad, and what it decides."""

from __future__ import annotations

import math
import random

import attrs
import fs_addon_guard
import pytest
from fake_session import FakeSession, metrics
from fs_addon_guard import SECTION, GuardOptions
from fs_kernel.errors import ConfigError
from fs_kernel.options import CommandLineSource, resolve
from fs_kernel.types import BadStep

RATE = "optimizer.learning_rate"


def guarding(tmp_path, **options):
    run = FakeSession(tmp_path, SECTION, GuardOptions(**options))
    return run, fs_addon_guard.create_addon(run)


def judged(guard, losses, side="a"):
    """The first line about readings with these losses, and how many there were until then."""
    for number, loss in enumerate(losses, 1):
        if line := guard.check_metrics(metrics(number, **{side: loss, "other": 0.5})):
            return line, number
    return None


def reported(guard, values, name="psnr"):
    """The same for numbers that somebody reports; the losses are ordinary."""
    for number, value in enumerate(values, 1):
        found = {} if value is None else {name: value}
        if line := guard.check_metrics(attrs.evolve(metrics(number, a=0.5), values=found)):
            return line, number
    return None


def report(rollbacks=0):
    return BadStep(510, "step 510: the loss is not finite", 500, rollbacks)


# --- exploding losses ---


def test_a_loss_that_stays_far_above_the_median_is_an_explosion_and_named(tmp_path):
    _, guard = guarding(tmp_path, explosion=3.0, patience=4)
    line, number = judged(guard, [0.1] * 50 + [0.42] * 50)
    assert number == 54
    assert line == "the loss of side A exploded: 0.42, 4.2 times the 0.1 that was usual"


def test_single_bad_readings_are_no_explosion(tmp_path):
    _, guard = guarding(tmp_path, explosion=3.0, patience=2)
    assert judged(guard, ([0.1] * 30 + [9.0]) * 20) is None


def test_bad_readings_do_not_become_what_is_usual(tmp_path):
    _, guard = guarding(tmp_path, explosion=3.0, patience=150)
    _, number = judged(guard, [0.1] * 20 + [1.0] * 200)
    assert number == 170


def test_falling_and_slowly_rising_losses_are_fine(tmp_path):
    _, guard = guarding(tmp_path)
    falling = [0.5 * 0.99**i for i in range(400)]
    assert judged(guard, falling + [falling[-1] * 1.002**i for i in range(1000)]) is None


def test_the_defaults_bear_heavy_noise(tmp_path):
    # Real runs at batch 1 to 16 stay below 1.8 times the median; this noise reaches more than 3.
    _, guard = guarding(tmp_path)
    draw = random.Random(3)
    noise = [0.02 * draw.lognormvariate(0, 0.5) for _ in range(5000)]
    assert max(noise) > 3 * 0.02
    assert judged(guard, noise) is None


def test_the_first_readings_of_a_session_are_not_judged(tmp_path):
    _, guard = guarding(tmp_path, patience=1)
    assert judged(guard, [0.1, 5.0, 0.1, 7.0]) is None


def test_changed_options_begin_a_new_median(tmp_path):
    run, guard = guarding(tmp_path, patience=1)
    assert judged(guard, [0.1] * 50) is None
    run.config = run.config.changed(SECTION, "policy", "rollback", "changed at step 51")
    assert judged(guard, [0.8] * 50) is None


def test_a_changed_learning_rate_does_not(tmp_path):
    run, guard = guarding(tmp_path, patience=1)
    assert judged(guard, [0.1] * 50) is None
    run.set_option(RATE, 1e-4)
    assert judged(guard, [0.8] * 50) is not None


def test_explosion_zero_is_off(tmp_path):
    _, guard = guarding(tmp_path, explosion=0.0)
    assert judged(guard, [0.1] * 50 + [1e9] * 50) is None


# --- other numbers ---


def test_numbers_that_no_option_names_are_ignored(tmp_path):
    _, guard = guarding(tmp_path, patience=1)
    assert reported(guard, [0.1] * 50 + [math.nan] * 50) is None


def test_a_number_that_is_watched_may_not_explode_and_is_named(tmp_path):
    _, guard = guarding(tmp_path, patience=4, watch=["psnr"])
    line, number = reported(guard, [0.1] * 50 + [0.42] * 50)
    assert number == 54
    assert line == "psnr exploded: 0.42, 4.2 times the 0.1 that was usual"


def test_readings_without_it_do_not_count(tmp_path):
    _, guard = guarding(tmp_path, patience=2, watch=["psnr"])
    seldom = [0.1, None, None] * 30 + [0.9, None, None, 0.9]
    assert reported(guard, seldom)[1] == len(seldom)


def test_a_number_that_is_not_finite_is_bad_from_the_start(tmp_path):
    _, guard = guarding(tmp_path, patience=2, watch=["psnr"])
    assert reported(guard, [math.nan] * 5) == ("psnr is nan, which is not finite", 2)


def test_a_name_that_nothing_reports_is_told_once(tmp_path):
    run, guard = guarding(tmp_path, watch=["psnr", "pnsr"])
    assert reported(guard, [0.1] * 300) is None
    assert run.warnings == [
        "addon.guard.watch: nothing has reported pnsr in 100 readings; check the spelling"
    ]


# --- policies ---


def test_the_default_stops(tmp_path):
    run, guard = guarding(tmp_path)
    assert guard.on_bad_step(report()) is False
    assert run.changes == []


def test_a_roll_back_lowers_the_rate_beyond_its_range_and_says_so(tmp_path):
    run, guard = guarding(tmp_path, policy="rollback", learning_rate_factor=0.01)
    assert guard.on_bad_step(report()) is True
    assert run.changes == [(RATE, pytest.approx(5e-7), None)]
    assert run.warnings == [
        "step 510 went wrong; roll-back 1 of 3 to step 500, with optimizer.learning_rate = 5e-07"
    ]


def test_each_roll_back_lowers_it_further(tmp_path):
    run, guard = guarding(tmp_path, policy="rollback")
    for number in range(3):
        assert guard.on_bad_step(report(number)) is True
    assert [value for _, value, _ in run.changes] == [2.5e-5, 1.25e-5, 6.25e-6]


def test_roll_backs_are_bounded(tmp_path):
    run, guard = guarding(tmp_path, policy="rollback", max_rollbacks=2)
    assert guard.on_bad_step(report(2)) is False
    assert run.changes == []
    assert "2 roll-backs did not help" in run.warnings[0]
    assert "max_rollbacks" in run.warnings[0]


def checked(tmp_path, **options):
    config = FakeSession(tmp_path, SECTION, GuardOptions(**options)).config
    fs_addon_guard.check_options(config.view([SECTION]), config)


@pytest.mark.parametrize("name", ["optimizer.rate", "optimizer.name", "trainer.rate"])
def test_a_rate_that_cannot_be_lowered_is_refused_before_training(tmp_path, name):
    with pytest.raises(ConfigError, match=name):
        checked(tmp_path, policy="rollback", learning_rate_option=name)


def test_the_policy_stop_needs_no_such_option(tmp_path):
    checked(tmp_path, policy="stop", learning_rate_option="nobody.knows")
    checked(tmp_path, policy="rollback")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy", "hope"),
        ("explosion", 0.5),
        ("explosion", 1.0),
        ("explosion", -1.0),
        ("patience", 0),
        ("max_rollbacks", 0),
        ("learning_rate_factor", 0.0),
        ("learning_rate_factor", 1.5),
    ],
)
def test_bad_values_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        resolve(
            fs_addon_guard.config_defaults(), [CommandLineSource("--set", {SECTION: {name: value}})]
        )


def test_each_run_has_a_guard_of_its_own(tmp_path):
    (_, first), (_, second) = guarding(tmp_path, patience=2), guarding(tmp_path, patience=2)
    assert judged(first, [0.1] * 30 + [9.0]) is None
    assert judged(second, [9.0] * 30) is None
