"""``fs model``: model folders are shown, checked and restored; errors are one line."""

from __future__ import annotations

import json
import shutil

import pytest
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import tiny_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model folder with generations 2 and 4."""
    folder = tmp_path_factory.mktemp("cli")
    with tiny_run(folder, set={"training.iterations": 4, "save.interval": 2}) as run:
        run.train()
    return folder / "model"


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it."""
    return shutil.copytree(trained, tmp_path / "model")


def spoil(folder, generation):
    (folder / f"checkpoints/{generation}/weights.safetensors").write_bytes(b"spoilt")


def one_line(err):
    assert err.startswith("fs: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("command", ["info", "checkpoints", "verify", "restore"])
def test_a_folder_without_a_model_exits_5(fs, tmp_path, command):
    code, out, err = fs("model", command, tmp_path / "nothing")
    assert (code, out) == (5, "")
    assert "holds no model" in one_line(err)


def test_info_as_json(fs, folder):
    code, out, _ = fs("model", "info", folder, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["model"] == "tiny"
    assert facts["trainer"] == "plain"
    assert (facts["iterations"], facts["target_iterations"], facts["complete"]) == (4, 4, True)
    assert facts["stop_reason"] == "target"
    assert facts["generation"] == "000000004"
    assert facts["parameters"] > 10_000


def test_info_in_words(fs, folder):
    code, out, err = fs("model", "info", folder)
    assert (code, err) == (0, "")
    assert "iterations" in out
    assert "tiny" in out


def test_checkpoints(fs, folder):
    code, out, _ = fs("model", "checkpoints", folder, "--json")
    found = json.loads(out)
    assert code == 0
    assert [(g["name"], g["step"], g["current"]) for g in found] == [
        ("000000004", 4, True),
        ("000000002", 2, False),
    ]
    assert all(g["bytes"] > 100_000 for g in found)
    assert fs("model", "checkpoints", folder)[1].startswith("* 000000004")


def test_verify(fs, folder):
    assert json.loads(fs("model", "verify", folder, "--json")[1]) == {
        "000000004": None,
        "000000002": None,
    }
    spoil(folder, "000000002")
    code, out, err = fs("model", "verify", folder)
    assert code == 5
    assert "checkpoint 000000004: ok" in out
    assert "checkpoint 000000002: weights.safetensors has the wrong size" in out
    assert "1 damaged" in one_line(err)
    code, out, _ = fs("model", "verify", folder, "--json")
    assert code == 5
    assert json.loads(out)["000000004"] is None


def test_a_damaged_generation_is_told_and_the_older_one_used(fs, folder):
    spoil(folder, "000000004")
    code, out, err = fs("model", "info", folder, "--json")
    assert code == 0
    assert json.loads(out)["generation"] == "000000002"
    assert "000000004" in err


def test_when_no_generation_is_whole_the_exit_is_5(fs, folder):
    for name in ("000000002", "000000004"):
        spoil(folder, name)
    for command in (["model", "info", folder], ["run", "-m", folder], ["swap", folder, "x", "y"]):
        code, out, err = fs(*command)
        assert (code, out) == (5, "")
        assert "no checkpoint is whole" in one_line(err)


def test_f22_restore_goes_back_and_no_further(fs, folder):
    assert fs("model", "restore", folder)[0] == 0
    assert Checkpoints(folder).current_name() == "000000002"
    code, _, err = fs("model", "restore", folder)
    assert code == 5
    assert "no older whole checkpoint" in one_line(err)
    assert Checkpoints(folder).current_name() == "000000002"
    assert fs("model", "restore", folder, "000000004")[0] == 0
    assert Checkpoints(folder).current_name() == "000000004"


@pytest.mark.parametrize("name", ["000000009", "../x", "."])
def test_f22_restore_of_what_is_not_there_lists_the_generations(fs, folder, name):
    code, _, err = fs("model", "restore", folder, name)
    assert code == 5
    assert f"there is no checkpoint {name}" in one_line(err)
    assert "(there are: 000000004, 000000002)" in err


def test_restore_of_a_damaged_generation_is_refused(fs, folder):
    spoil(folder, "000000002")
    code, _, err = fs("model", "restore", folder, "000000002")
    assert code == 5
    assert "wrong size" in one_line(err)
    assert Checkpoints(folder).current_name() == "000000004"


def test_a_model_of_a_plugin_that_is_gone(fs, folder):
    """Looking needs no plugin; training does, and says which."""
    assert fs("model", "info", folder)[0] == 0
    code, _, err = fs("run", "-m", folder)
    assert code == 4
    assert "'tiny'" in one_line(err)
    code, _, err = fs("swap", folder, "x", "y")
    assert code == 4
    assert "'tiny'" in one_line(err)


def test_restore_goes_by_when_checkpoints_were_written(fs, folder):
    """After going back to 2 and training to 3, step 4 is the older of the two."""
    assert fs("model", "restore", folder, "000000002")[0] == 0
    with tiny_run(folder.parent, set={"training.iterations": 3, "save.keep": 3}) as run:
        run.train()
    assert Checkpoints(folder).current_name() == "000000003"
    assert fs("model", "restore", folder)[0] == 0
    assert Checkpoints(folder).current_name() == "000000004"
