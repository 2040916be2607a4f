"""The torture of `torture.py`, in short."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from torture import kills, power_cuts, report


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
def test_killed_runs_lose_nothing_and_go_on_to_the_bit(tmp_path):
    found = kills(tmp_path / "kills", 6, seed=1)
    assert [kill["problem"] for kill in found] == [None] * 6
    assert found[-1]["found"] > 6
    assert any(kill["in_save"] for kill in found), "no kill hit a save"


@pytest.mark.parametrize("seed", range(4))
def test_power_cuts_lose_nothing(tmp_path, seed):
    assert power_cuts(tmp_path / "cuts", 60, seed) == []


def test_a_disk_that_forgets_is_cruel_enough(tmp_path, monkeypatch):
    """Without the flushes the same cuts lose checkpoints; else this would prove nothing."""
    from fs_kernel.storage import files

    monkeypatch.setattr(files, "flush_folder", lambda path: None)
    problems = [line for seed in range(2) for line in power_cuts(tmp_path / f"{seed}", 30, seed)]
    assert problems


def test_the_report_says_what_was_lost(tmp_path):
    kill = {"way": "at any time", "in_save": True, "trained": 9, "counted": 4, "found": 2}
    report(tmp_path / "r.md", [kill | {"problem": "step 4 had been saved"}], 500, ["cut"])
    text = (tmp_path / "r.md").read_text()
    assert "checkpoints lost: **1**" in text
    assert "longest work lost: **7 steps**" in text
    assert "step 4 had been saved" in text
