"""What is installed, from metadata alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from fake_packages import look_again
from fs_doctor.listing import duplicates, rows
from fs_kernel.errors import PluginError
from fs_kernel.plugins import discovery
from fs_kernel.testing import tiny_run


def names(kind):
    return [found.name for found in discovery.installed(kind)]


def test_a_plugin_is_found_without_its_import(site):
    code = {"aaa_net": "raise RuntimeError('imported')"}
    site.install(
        "fs-model-aaa",
        {"models": {"aaa": "aaa_net"}},
        code,
        version="1.2",
        metadata="Summary: A net.\nProject-URL: Issues, https://example.org/issues\n",
    )
    found = discovery.find("models", "aaa")
    assert (found.distribution, found.version, found.api) == ("fs-model-aaa", "1.2", 1)
    assert found.summary == "A net."
    assert found.issues_url == "https://example.org/issues"
    assert not found.editable
    assert str(found) == "model 'aaa' (fs-model-aaa 1.2)"
    assert "aaa_net" not in sys.modules


def test_other_groups_and_kinds_are_left_alone(site):
    site.install("other", {"nonsense": {"x": "y"}, "models": {"aaa": "y"}})
    assert all(found.kind in discovery.KINDS for found in discovery.installed())
    assert "aaa" in names("models")


def test_one_distribution_may_bring_several_plugins(site):
    site.install("many", {"models": {"aaa": "m"}, "losses": {"bbb": "m:b", "ccc": "m:c"}})
    assert "aaa" in names("models")
    assert {"bbb", "ccc"} <= set(names("losses"))


def test_an_editable_install_is_seen(site):
    folder = site.install("fs-model-aaa", {"models": {"aaa": "m"}})
    (folder / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    assert discovery.find("models", "aaa").editable


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"dir_info": 5}'])
def test_a_broken_direct_url_is_no_editable_install(site, text):
    folder = site.install("fs-model-aaa", {"models": {"aaa": "m"}})
    (folder / "direct_url.json").write_text(text)
    assert not discovery.find("models", "aaa").editable


@pytest.mark.parametrize("name", ["fs-model-aaa", "FS_Model.aaa"])
def test_copies_of_one_distribution_are_one(site, tmp_path, monkeypatch, name):
    """The first on the path is the one Python would import."""
    site.install("fs-model-aaa", {"models": {"aaa": "new"}}, version="2.0")
    later = type(site)(tmp_path / "later")
    monkeypatch.setattr(sys, "path", [*sys.path, str(later.folder)])
    later.install(name, {"models": {"aaa": "old"}}, version="1.0")
    found = discovery.find("models", "aaa")
    assert (found.version, found.value) == ("2.0", "new")
    assert names("models").count("aaa") == 1


def test_two_distributions_with_one_name_are_both_blamed(site):
    site.install("fs-one", {"models": {"aaa": "m"}}, version="1.0")
    site.install("fs-two", {"models": {"aaa": "m"}}, version="2.0")
    with pytest.raises(PluginError) as caught:
        discovery.find("models", "aaa")
    text = str(caught.value)
    assert "fs-one 1.0" in text
    assert "fs-two 2.0" in text
    assert "uninstall one" in text
    assert caught.value.exit_code == 4
    assert [row["status"] for row in rows("models") if row["name"] == "aaa"] == [
        "duplicate name",
        "duplicate name",
    ]


def test_equal_names_of_different_kinds_are_no_duplicates(site):
    site.install("fs-one", {"models": {"aaa": "m"}, "trainers": {"aaa": "m"}})
    assert discovery.find("models", "aaa").kind == "models"
    assert discovery.find("trainers", "aaa").kind == "trainers"


def test_a_missing_plugin_names_the_nearest(site):
    site.install("fs-one", {"models": {"aardvark": "m"}})
    with pytest.raises(PluginError, match="did you mean 'aardvark'") as caught:
        discovery.find("models", "aardvrk")
    assert "there is no model 'aardvrk'" in str(caught.value)
    assert caught.value.plugin == "aardvrk"


def test_a_missing_plugin_of_ours_names_the_package(monkeypatch):
    monkeypatch.setattr(discovery, "_scan", lambda: ())
    with pytest.raises(PluginError) as caught:
        discovery.find("models", "original")
    assert str(caught.value) == (
        "there is no model 'original' (no model is installed); pip install fs-model-original"
    )


def test_no_package_is_guessed(monkeypatch):
    monkeypatch.setattr(discovery, "_scan", lambda: ())
    with pytest.raises(PluginError) as caught:
        discovery.find("models", "unheard-of")
    assert "pip" not in str(caught.value)


@pytest.mark.parametrize(
    ("api", "status"), [(1, "ok"), (None, "ok"), (2, "too new"), (0, "too old")]
)
def test_the_declared_api_is_known_without_import(site, api, status):
    site.install("fs-one", {"models": {"aaa": "m"}}, api=api)
    assert discovery.find("models", "aaa").api == api
    assert [row["status"] for row in rows("models") if row["name"] == "aaa"] == [status]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("entry_points.txt", b"[fs_kernel.models\nx=y"),
        ("entry_points.txt", b"[fs_kernel.models]\nno equals sign"),
        ("entry_points.txt", b"fs_kernel.models\x00\xff\xfe"),
        ("entry_points.txt", b"[fs_kernel.models]\n= = =\n[]\n"),
        ("METADATA", b""),
        ("METADATA", b"\xff\xfe\x00nonsense"),
        ("METADATA", b"Version: 1.0\n"),
        ("METADATA", b"Name: fs-broken\n"),
        ("METADATA", None),
    ],
)
def test_broken_metadata_of_one_package_hurts_no_other(site, file, content):
    site.install("fs-good", {"models": {"good": "m"}})
    folder = site.install("fs-broken", {"models": {"broken": "m"}})
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    look_again()
    assert discovery.find("models", "good").distribution == "fs-good"
    for row in rows():
        json.dumps(row)


def test_what_is_installed_is_looked_up_again_after_refresh(site):
    discovery.installed()
    site.install("fs-one", {"models": {"aaa": "m"}})
    assert "aaa" in names("models")


def test_duplicates_lists_only_names_claimed_twice(site):
    site.install("fs-one", {"models": {"aaa": "m", "bbb": "m"}})
    site.install("fs-two", {"models": {"aaa": "m"}})
    assert list(duplicates(discovery.installed("models"))) == [("models", "aaa")]


PROGRAM = textwrap.dedent(
    """
    import io, contextlib, json, sys, time
    start = time.perf_counter()
    from fs_kernel.cli import run_cli
    answers = []
    for arguments in (["--help"], ["plugins", "list", "--json"], ["plugins", "list"], ["-h"]):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = run_cli(arguments)
        answers.append([code, out.getvalue()])
    seconds = time.perf_counter() - start
    print(json.dumps({"answers": answers, "modules": sorted(sys.modules), "seconds": seconds}))
    """
)


def test_two_hundred_plugins_are_listed_and_none_is_imported(site):
    site.crowd(200, broken=20)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(site.folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    (help_code, help_text), (list_code, listed), (_, table), _ = answer["answers"]
    assert (help_code, list_code) == (0, 0)
    assert "crowd4" in help_text
    found = [row for row in json.loads(listed) if row["name"].startswith("crowd")]
    unreadable = [number for number in range(20) if number % 6 >= 4]
    assert {row["name"] for row in found} == {
        f"crowd{number}" for number in range(200) if number not in unreadable
    }
    assert "crowd199" in table
    roots = {name.split(".")[0] for name in answer["modules"]}
    assert not roots & {"torch", "keras", "numpy", "fs_nn", "fs_model_original"}
    assert not [root for root in roots if root.startswith("crowd_")]


def test_two_hundred_plugins_do_not_touch_a_run(site, tmp_path):
    """Names are resolved among all of them, and nothing that was not named is imported."""
    losses = []
    for crowded in (False, True):
        if crowded:
            site.crowd(200, broken=20)
        site.install(
            f"fs-model-mine-{crowded:d}", {"models": {"mine": "fs_kernel.testing:TinyModel"}}
        )
        folder = tmp_path / str(crowded)
        folder.mkdir()
        with tiny_run(folder, model="mine", set={"training.iterations": 2}) as run:
            losses.append([metrics.losses for metrics in run])
        shutil.rmtree(site.folder / f"fs_model_mine_{crowded:d}-1.0.dist-info")
        look_again()
    assert losses[0] == losses[1]
    assert not [name for name in sys.modules if name.startswith("crowd_")]
