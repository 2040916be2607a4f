"""``fs new`` and ``cookiecutter plugin_template``: one template, nothing asked or overwritten."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import fs_new
import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from fs_kernel.cli import run_cli
from machines import ROOT

TEMPLATE = ROOT / "plugin_template"
KINDS = fs_new.KINDS


def tree(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def refused(capsys, *arguments, code=2):
    assert run_cli(["new", *map(str, arguments)]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_kinds_and_licenses_are_those_of_the_template():
    context = json.loads((TEMPLATE / "cookiecutter.json").read_text())
    assert tuple(context["kind"]) == KINDS
    assert tuple(context["license"]) == fs_new.LICENSES
    names = {p.name for p in (TEMPLATE / "templates" / "licenses").iterdir()}
    assert {*names, "none"} == set(fs_new.LICENSES)


def test_an_editable_install_reads_the_one_template_there_is():
    assert fs_new.template() == TEMPLATE


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_give_the_same_package(tmp_path, monkeypatch, kind, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(tmp_path / "none.yaml"))
    (tmp_path / "none.yaml").write_text(f"replay_dir: {tmp_path / 'replay'}\n")
    given = {"license": "MIT", "author": 'Ada "A" Example', "description": "It's <mine> & new."}
    options = [f"--{key}={value}" for key, value in given.items()]
    assert run_cli(["new", kind, "my_thing", "-o", str(tmp_path / "fs"), *options]) == 0
    printed = capsys.readouterr()
    folder = tmp_path / "fs" / f"fs-{kind}-my-thing"
    assert printed.out.strip() == str(folder)
    assert "my_thing" in printed.err
    extra = {"kind": kind, "name": "my_thing", **given}
    (tmp_path / "cc").mkdir()
    cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(tmp_path / "cc"), extra_context=extra)
    assert tree(tmp_path / "cc") == tree(tmp_path / "fs")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["authors"] == [{"name": given["author"]}]
    assert project["description"] == given["description"]
    assert given["author"] in (folder / "LICENSE").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_rendered_is_tidy_and_small(tmp_path, kind):
    folder = fs_new.render(tmp_path, kind=kind, name="my_thing")
    found = tree(folder)
    module = f"fs_{kind}_my_thing"
    assert set(found) == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".gitignore",
        ".github/workflows/tests.yml",
        f"{module}/__init__.py",
        f"{module}/py.typed",
        f"tests/test_{module}.py",
    }
    for name, content in found.items():
        text = content.decode()
        assert "cookiecutter" not in text, name
        assert not re.search(r"(?<!\$)\{\{|\{%", text), name
        assert not text or text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
    lines = found[f"{module}/__init__.py"].decode().splitlines()
    assert len(lines) < 200, "one small module"
    entries = tomllib.loads(found["pyproject.toml"].decode())["project"]["entry-points"]
    ((group, value),) = [(g, e["my_thing"]) for g, e in entries.items() if "my_thing" in e]
    assert group == f"fs_kernel.{kind}{'es' if kind == 'loss' else 's'}"
    path, _, attribute = value.partition(":")
    assert path == module
    defined = {getattr(node, "name", "") for node in ast.parse("\n".join(lines)).body}
    assert not attribute or attribute in defined
    assert entries["fs_kernel.api"] == {"1": module}
    ruff = Path(sys.executable).with_name("ruff")
    if ruff.exists():
        rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
        # What a hook is for stands in the kernel, so an implementation needs no docstring.
        chosen = ["--select", ",".join(rule for rule in rules["lint"]["select"] if rule != "D")]
        chosen += ["--ignore", ",".join([*rules["lint"]["ignore"], "RUF012"])]
        common = ["--isolated", "--no-cache", "--line-length", "100", "."]
        for command in (["check", *chosen], ["format", "--diff"]):
            done = subprocess.run(
                [ruff, *command, *common], cwd=folder, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr


def test_a_kind_that_a_package_declares_gets_a_package_too(tmp_path, capsys):
    assert run_cli(["new", "swap_filter", "my_dim", "-o", str(tmp_path)]) == 0
    folder = tmp_path / "fs-swap-filter-my-dim"
    assert capsys.readouterr().out.strip() == str(folder)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    module = "fs_swap_filter_my_dim"
    assert project["entry-points"]["fs_kernel.swap_filters"] == {"my_dim": module}
    assert "fs-swap" in project["dependencies"]
    code = (folder / module / "__init__.py").read_text()
    assert "swap_filter.my_dim" in code
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stdout
    assert run_cli(["new", "nonsense", "x1", "-o", str(tmp_path)]) == 2
    assert "swap_filter" in capsys.readouterr().err


@pytest.mark.parametrize("license", fs_new.LICENSES)
def test_the_license_is_the_one_chosen(tmp_path, license):
    folder = fs_new.render(tmp_path, kind="loss", name="soft", license=license)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    if license == "none":
        assert not (folder / "LICENSE").exists()
        assert "license" not in project
    else:
        assert project["license"] == license
        assert len((folder / "LICENSE").read_text()) > 1000


@pytest.mark.parametrize(
    "name",
    ["", "x", "My", "my-net", "1net", "a b", "_x", "x_", "a__b", "../up", "x" * 41, "netz\n"],
)
def test_names_that_can_be_none_are_refused(tmp_path, name, capsys):
    line = refused(capsys, "model", "-o", tmp_path, "--", name)
    assert "is not a name for a plugin" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["My Net", "my-net", "1net"])
def test_cookiecutter_refuses_names_too(tmp_path, name, monkeypatch, capfd):
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(tmp_path / "none.yaml"))
    (tmp_path / "none.yaml").write_text(f"replay_dir: {tmp_path / 'replay'}\n")
    (tmp_path / "out").mkdir()
    with pytest.raises(FailedHookException):
        cookiecutter(
            str(TEMPLATE),
            no_input=True,
            output_dir=str(tmp_path / "out"),
            extra_context={"kind": "model", "name": name},
        )
    assert "is not a name" in capfd.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_names_that_are_taken_are_refused(tmp_path, capsys):
    assert "is in fs-model-original" in refused(capsys, "model", "original", "-o", tmp_path)
    assert "is in fs-nn" in refused(capsys, "loss", "ssim", "-o", tmp_path)
    assert "word of Python" in refused(capsys, "loss", "lambda", "-o", tmp_path)


def test_wrong_kinds_and_missing_names_are_usage_errors(tmp_path, capsys):
    assert "is not one of" in refused(capsys, "networks", "x", "-o", tmp_path)
    assert "Missing argument 'NAME'" in refused(capsys, "model")


def test_nothing_is_overwritten(tmp_path, capsys):
    folder = fs_new.render(tmp_path, kind="model", name="mine")
    (folder / "README.md").write_text("my own words")
    before = tree(folder)
    assert "exists; choose another name" in refused(capsys, "model", "mine", "-o", tmp_path)
    assert tree(folder) == before
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, "model", "other", "-o", tmp_path / "file")


# --- from a file ---

LOCAL = '''"""Uses {{ braces }} and {% signs %}."""
from fs_kernel.testing import TinyModel, PlainTrainer

WORDS = {"a": {"b": "{{x}}"}}


class Mine(TinyModel):
    name = "mine"
'''


def test_a_local_file_becomes_a_package_as_it_is(tmp_path, capsys):
    (tmp_path / "my_net.py").write_text(LOCAL)
    source = f"{tmp_path / 'my_net.py'}:Mine"
    options = ["--from", source, "-o", str(tmp_path), "--json"]
    assert run_cli(["new", "model", "mine", *options]) == 0
    facts = json.loads(capsys.readouterr().out)
    folder = Path(facts["folder"])
    assert (folder / "fs_model_mine/__init__.py").read_text() == LOCAL
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["fs_kernel.models"] == {"mine": "fs_model_mine:Mine"}
    test = (folder / "tests/test_fs_model_mine.py").read_text()
    assert "plugin = fs_model_mine.Mine" in test
    assert "tiny_run" not in test
    ast.parse(test)


@pytest.mark.parametrize(
    ("text", "source", "code", "says"),
    [
        (None, "x.py", 2, "there is no file"),
        ("def (", "x.py", 4, "SyntaxError"),
        (LOCAL, "x.py:Nobody", 4, "has no attribute 'Nobody'"),
        ("", "x.py", 4, "lacks the hooks"),
        (LOCAL, "x.py:PlainTrainer", 4, "is not a hook of a model"),
    ],
)
def test_a_file_that_is_no_plugin_is_refused(tmp_path, capsys, text, source, code, says):
    if text is not None:
        (tmp_path / "x.py").write_text(text)
    arguments = ("model", "mine", "-o", tmp_path / "out", "--from", tmp_path / source)
    assert says in refused(capsys, *arguments, code=code)
    assert not (tmp_path / "out").exists()


def test_the_wheel_holds_the_template(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, "-w", tmp_path, ROOT / "plugins_builtin" / "fs-new"], check=True, timeout=300
    )
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    assert tree(tmp_path / "unpacked" / "fs_new" / "plugin_template") == tree(TEMPLATE)
