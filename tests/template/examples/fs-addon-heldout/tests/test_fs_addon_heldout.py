import json

import fs_addon_heldout
import numpy as np
import pytest
from fs_kernel import ConfigError, hookimpl
from fs_kernel.storage import Checkpoints
from fs_kernel.testing import ArrayFeed, array_face, tiny_run
from fs_kernel.testing.suites import AddonSuite
from fs_kernel.types import Face


class TestConformance(AddonSuite):
    plugin = fs_addon_heldout


class Feed(ArrayFeed):
    """A feed whose folders hold 20 faces each."""

    @hookimpl
    def read_faces(self, source, shape):
        for i in range(20):
            yield Face(f"{i}.png", array_face(99, "a", i, shape[0]), None)


def train(folder, steps, **options):
    """Train a tiny network; return the numbers it was measured with, by step."""
    kept_out = folder / "kept_out"
    kept_out.mkdir(exist_ok=True)
    values = {"addon.heldout.faces": str(kept_out), "addon.heldout.interval": 10}
    values |= {"training.iterations": steps, "save.interval": 10} | options
    with tiny_run(folder, feed=Feed(), addons=[fs_addon_heldout], set=values) as run:
        run.train()
    lines = (folder / "model/logs/events.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["event"] == "metrics"]
    return {e["step"]: e["values"]["psnr_heldout"] for e in events if e["values"]}


def test_it_is_measured_at_its_interval_and_rises(tmp_path):
    measured = list(train(tmp_path, 101).values())
    assert len(measured) == 10
    assert all(np.isfinite(measured))
    assert measured[-1] > measured[0]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_checkpoint_is_kept_by_it(tmp_path, mode):
    best = {"save.keep": 1, "save.keep_best": 1, "save.monitor": "psnr_heldout"}
    measured = train(tmp_path, 41, **best, **{"save.monitor_mode": mode})
    kept = [made.step for made in Checkpoints(tmp_path / "model").checkpoints()]
    assert len(measured) == 4
    best_step = (max if mode == "max" else min)(measured, key=measured.get)
    assert kept == sorted({41, best_step}, reverse=True)


def test_measuring_does_not_change_the_training(tmp_path):
    losses = []
    for name, addons in (("with", [fs_addon_heldout]), ("without", [])):
        folder = tmp_path / name
        (folder / "kept_out").mkdir(parents=True)
        given = {"addon.heldout.faces": str(folder / "kept_out"), "addon.heldout.interval": 1}
        values = {"training.iterations": 4} | (given if addons else {})
        with tiny_run(folder, feed=Feed(), addons=addons, set=values) as run:
            losses.append([metrics.losses for metrics in run])
    assert losses[0] == losses[1]


def test_a_folder_that_is_missing_is_said_before_training(tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        tiny_run(tmp_path, addons=[fs_addon_heldout], set={"addon.heldout.faces": "missing"})
