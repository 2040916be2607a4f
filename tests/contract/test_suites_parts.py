"""Every built-in trainer, feed and add-on runs the suite of its kind."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import fs_addon_lr_finder
import pytest
from fs_kernel import hookimpl, option
from fs_kernel.plugins import discovery
from fs_kernel.testing import ArrayFeed, PlainTrainer
from fs_kernel.testing.suites import AddonSuite, FeedSuite, ObjectiveSuite, TrainerSuite

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from face_files import fill


class TestStandardTrainer(TrainerSuite):
    plugin = "standard"


class TestDdpTrainer(TrainerSuite):
    plugin = "ddp"


class TestDistributedTrainer(TrainerSuite):
    plugin = "distributed"


class TestFsdpTrainer(TrainerSuite):
    plugin = "fsdp"


class TestPlainTrainer(TrainerSuite):
    plugin = PlainTrainer


class Calm:
    """An objective with a term for one side, and a number to report."""

    name = "calm"

    @hookimpl
    def required_fields(self):
        return {"face", "landmarks"}

    @hookimpl
    def create_objective(self, run):
        return CalmTerms(run.network.sides[0])


class CalmTerms:
    def __init__(self, side):
        self.side = side

    def terms(self, batch, outputs):
        points = batch.meta.landmarks.get(self.side)
        weight = 1.0 if points is None else points.mean(dim=(1, 2))
        return {self.side: {"calm": 0.1 * weight * outputs[0].square().mean(dim=(1, 2, 3))}}

    def train_step(self):
        return {}


class TestCalm(ObjectiveSuite):
    """With every built-in trainer."""

    plugin = Calm
    trainers = (PlainTrainer, "standard", "ddp", "distributed", "fsdp")


class TestFaces(FeedSuite):
    plugin = "faces"
    variants = (
        {"loader.workers": 0},
        {"loader.workers": 3},
        {"loader.pre_fetch": 5},
        {"feed.faces.cache": False},
        {"feed.faces.cache": False, "loader.cache": 0},
    )

    @classmethod
    def make_folders(cls, root):
        return {"a": fill(root / "A", 26), "b": fill(root / "B", 27, start=500)}


class TestArrays(FeedSuite):
    plugin = ArrayFeed
    landmarks = True
    waived = {"test_folders_without_faces_are_refused": "its faces are made in memory"}


@attrs.frozen
class Unread:
    """A section that nothing reads."""

    rate: float = option(1e-3, "A rate.", minimum=0.0, maximum=1.0, live=True)


class Finder:
    """The learning-rate finder beside a rate that it can search: the tiny trainer's is fixed."""

    name = "lr_finder"
    check_options = staticmethod(fs_addon_lr_finder.check_options)
    create_addon = staticmethod(fs_addon_lr_finder.create_addon)

    @hookimpl
    def config_defaults(self):
        return {**fs_addon_lr_finder.config_defaults(), "addon.unread": Unread}


PLUGINS = {"lr_finder": Finder}
#: Options that make an add-on quick.
QUICK = {
    "preview": {"preview.images": 2},
    "lr_finder": {
        "addon.lr_finder.iterations": 100,
        "addon.lr_finder.learning_rate_option": "addon.unread.rate",
    },
}
for found in discovery.installed("addons"):
    if found.distribution.startswith("fs-addon-"):
        plugin = PLUGINS.get(found.name, found.name)
        attributes = {"plugin": plugin, "options": QUICK.get(found.name, {})}
        name = f"TestAddon_{found.name}"
        globals()[name] = type(name, (AddonSuite,), {**attributes, "__module__": __name__})


@pytest.mark.parametrize("kind", ["trainers", "feeds", "addons"])
def test_no_built_in_is_left_out(kind):
    """A new package of ours comes with its suite."""
    suites = (TrainerSuite, FeedSuite, AddonSuite)
    classes = [s for cls in suites for s in cls.__subclasses__() if s.kind == kind]
    tested = {getattr(s.plugin, "name", s.plugin) for s in classes}
    ours = {f.name for f in discovery.installed(kind) if f.distribution.startswith("fs-")}
    assert ours <= tested
