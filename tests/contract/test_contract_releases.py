"""Versions move together, every distribution builds, and a change has its line in the changelog."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / ".ci/release.py"


def release(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True
    )


@pytest.fixture
def checkout(tmp_path):
    """A copy of what releases are made of."""
    target = tmp_path / "checkout"
    litter = shutil.ignore_patterns("__pycache__", "dist", "*.egg-info")
    for name in ("kernel", "plugins_builtin", "plugin_template"):
        shutil.copytree(ROOT / name, target / name, ignore=litter)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def test_this_checkout_has_one_version():
    result = release("check")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "was", "becomes", "says"),
    [
        (
            "plugins_builtin/fs-nn/pyproject.toml",
            r'^version = "[^"]+"',
            'version = "9.0.0"',
            "fs-nn",
        ),
        (
            "kernel/fs_kernel/__init__.py",
            r'__version__ = "[^"]+"',
            '__version__ = "9"',
            "__version__",
        ),
        (
            "plugins_builtin/fs-model-iae/pyproject.toml",
            r'"fs-nn>=[^"]+"',
            '"fs-nn>=0.0,<0.1"',
            "fs-model-iae",
        ),
        ("plugins_builtin/fs-demo/fs_demo/py.typed", None, None, "has no py.typed"),
    ],
)
def test_what_is_left_behind_is_named(checkout, file, was, becomes, says):
    path = checkout / file
    if was is None:
        path.unlink()
    else:
        text, count = re.subn(was, becomes, path.read_text("utf-8"), flags=re.MULTILINE)
        assert count == 1
        path.write_text(text, "utf-8")
    result = release("--root", checkout, "check")
    assert result.returncode == 1
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_new_version_is_set_everywhere_and_everything_builds(checkout, tmp_path):
    assert release("--root", checkout, "set", "7.3.1").returncode == 0
    for path in checkout.glob("plugins_builtin/*/pyproject.toml"):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        ours = [line for line in project["dependencies"] if line.startswith("fs-")]
        assert project["version"] == "7.3.1"
        assert all(line.endswith(">=7.3,<7.4") for line in ours), ours
    target = tmp_path / "out"
    result = release("--root", checkout, "build", target)
    assert result.returncode == 0, result.stderr
    folders = [checkout, *(p.parent for p in checkout.glob("plugins_builtin/*/pyproject.toml"))]
    names = {
        tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["name"]
        for folder in folders
    }
    wheels = {path.name.split("-")[0].replace("_", "-"): path for path in target.glob("*.whl")}
    sources = {p.name.split("-7.3.1")[0].replace("_", "-"): p for p in target.glob("*.tar.gz")}
    assert set(wheels) == set(sources) == names
    for path in wheels.values():
        inside = zipfile.ZipFile(path).namelist()
        assert any(name.endswith("/py.typed") for name in inside), path.name
        assert not [name for name in inside if "__pycache__" in name or name.startswith("tests")]
    for path in sources.values():
        with tarfile.open(path) as archive:
            inside = archive.getnames()
        assert any(name.endswith("/pyproject.toml") for name in inside)
        assert any(name.endswith("/README.md") for name in inside)


@pytest.mark.parametrize("version", ["next", "1.0", "1.0.0-final", ""])
def test_no_version_is_refused(checkout, version):
    before = (checkout / "pyproject.toml").read_bytes()
    result = release("--root", checkout, "set", version)
    assert result.returncode == 1
    assert "write for example 0.2.0" in result.stderr
    assert (checkout / "pyproject.toml").read_bytes() == before


def test_fragments_of_the_changelog_are_sentences_of_a_known_kind():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
    kinds = {kind["directory"] for kind in settings["type"]}
    for path in (ROOT / settings["directory"]).glob("[!.]*"):
        _, _, tail = path.name.partition(".")
        assert tail.removesuffix(".md") in kinds, path.name
        assert path.read_text("utf-8").strip()[-1] in ".)", path.name
