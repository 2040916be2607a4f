"""What options of the learning-rate finder do that no other test shows by itself."""

from __future__ import annotations

import attrs
import fs_addon_lr_finder
import pytest
from fs_kernel import option
from fs_kernel.errors import ConfigError
from test_lr_finder import RATE, Searching


@attrs.frozen
class OwnTrainer:
    rate: float = option(1e-4, "The rate of another trainer.", live=True)
    name: str = option("fixed", "A name.")


class Elsewhere(Searching):
    """A session of a trainer that keeps its rate in a section of its own."""

    def __init__(self, folder, **options):
        super().__init__(folder, **options)
        self.config = type(self.config)({**self.config, "trainer.own": OwnTrainer()})

    def get_option(self, name):
        return super().get_option("trainer.own.rate" if name == RATE else name)


def test_learning_rate_option_names_the_option_that_is_searched_and_set(tmp_path):
    run = Elsewhere(tmp_path, learning_rate_option="trainer.own.rate")
    addon = fs_addon_lr_finder.create_addon(run)
    addon.before_training()
    assert run.config["trainer.own"].rate == addon.state_dict()["found"] > 0
    assert run.config["optimizer"] == type(run.config["optimizer"])()
    assert {name for name, *_ in run.changes} == {"trainer.own.rate"}


def test_an_option_that_cannot_change_is_refused(tmp_path):
    run = Elsewhere(tmp_path, learning_rate_option="trainer.own.name")
    with pytest.raises(ConfigError, match=r"trainer\.own\.name"):
        fs_addon_lr_finder.create_addon(run).before_training()


@pytest.mark.parametrize(("strength", "divisor"), [("default", 10), ("aggressive", 5)])
def test_strength_divides_the_best_rate(tmp_path, strength, divisor):
    run, bold = (Searching(tmp_path / name, strength=name) for name in (strength, "extreme"))
    for session in (run, bold):
        fs_addon_lr_finder.create_addon(session).before_training()
    assert bold.get_option(RATE) / run.get_option(RATE) == pytest.approx(divisor / 2.5, rel=0.01)
