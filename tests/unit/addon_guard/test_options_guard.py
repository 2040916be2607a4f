"""Which option the guard lowers."""

from __future__ import annotations

import attrs
from fake_session import FakeSession
from fs_addon_guard import SECTION, Guard, GuardOptions
from fs_kernel import option
from fs_kernel.types import BadStep


@attrs.frozen
class OwnTrainer:
    rate: float = option(1e-4, "The rate of another trainer.", live=True)


def test_learning_rate_option_names_the_option_that_is_lowered(tmp_path):
    options = GuardOptions(
        policy="rollback", learning_rate_factor=0.5, learning_rate_option="trainer.own.rate"
    )
    run = FakeSession(tmp_path, SECTION, options, **{"trainer.own": OwnTrainer()})
    assert Guard(run).on_bad_step(BadStep(510, "not finite", 500, 0))
    assert run.config["trainer.own"].rate == 5e-5
    assert run.config["optimizer"] == type(run.config["optimizer"])()
