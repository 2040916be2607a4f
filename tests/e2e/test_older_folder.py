"""A model folder of commit e55c076 is resumed to the bit; see tests/data/make_older_folder_2.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"
OLDER = DATA / "older_folder_2"


@pytest.fixture(scope="module")
def expected():
    return json.loads((OLDER / "expected.json").read_text())


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    model = shutil.copytree(OLDER / "model", tmp_path_factory.mktemp("older") / "model")
    command = [sys.executable, str(DATA / "make_older_folder_2.py"), "resume", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_options_that_addons_and_hands_have_changed_are_kept(resumed, expected):
    assert resumed["options"] == expected["options"]


def test_losses_go_on_where_they_were(resumed, expected):
    assert resumed["losses"].keys() == expected["losses"].keys()
    for step, losses in expected["losses"].items():
        assert resumed["losses"][step] == pytest.approx(losses, rel=1e-3)


@pytest.mark.parametrize("part", ["weights", "training"])
def test_every_tensor_is_the_one_of_then(resumed, expected, part):
    now, then = resumed[part], expected[part]
    assert then.keys() <= now.keys()
    # Another processor or library rounds differently; the numbers must still be those of then.
    exact = resumed["machine"] == expected["machine"]
    facts = ("sha256", "dtype", "shape") if exact else ("dtype", "shape")
    for name, tensor in then.items():
        assert [now[name][fact] for fact in facts] == [tensor[fact] for fact in facts], name
        if not exact and "/random/" not in name:
            assert now[name]["norm"] == pytest.approx(tensor["norm"], rel=1e-2, abs=1e-6), name
