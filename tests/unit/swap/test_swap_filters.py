"""Filters: a kind of plugin that a package declares, and every command that knows kinds."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from fs_kernel import hookimpl
from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.plugins import discovery
from fs_kernel.plugins.loading import kind_of
from fs_kernel.types import Face
from fs_swap.filters import Filters

CODE = """
import attrs
from fs_kernel import hookimpl, option

@attrs.frozen
class Options:
    factor: float = option(0.5, "How bright.", minimum=0, maximum=9)

@hookimpl
def config_defaults():
    return {"swap_filter.dim": Options}

@hookimpl
def filter_face(swapped, config):
    return swapped * config["swap_filter.dim"].factor
"""
PICTURE = np.full((4, 4, 3), 0.5, np.float32)
FACE = Face("x", PICTURE, origin=None)


@pytest.fixture
def dim(site):
    site.install("fs-dim", {"swap_filters": {"dim": "dim_code"}}, {"dim_code": CODE})


def test_filters_are_applied_in_order_and_clipped(dim):
    class Brighter:
        name = "brighter"

        @hookimpl
        def filter_face(self, swapped):
            return swapped + 0.75

    values = {"swap_filter.dim": {"factor": 0.25}, "training": {"device": "cpu"}}
    assert (Filters(["dim"], values)(PICTURE, None, FACE) == 0.125).all()
    assert (Filters(["dim", Brighter()])(PICTURE, None, FACE) == 1.0).all()
    assert (Filters([Brighter(), "dim"])(PICTURE, None, FACE) == 0.5).all()
    assert Filters()(PICTURE, None, FACE) is PICTURE


def test_what_does_not_fit_is_named(dim):
    class Wrong:
        name = "wrong"

        @hookimpl
        def filter_face(self, swapped):
            return swapped[:2]

    with pytest.raises(PluginError, match=r"swap filter 'wrong' returned \(2, 4, 3\)"):
        Filters([Wrong()])(PICTURE, None, FACE)
    with pytest.raises(PluginError, match="lacks the hook filter_face"):
        Filters([object()])
    with pytest.raises(PluginError, match=r"there is no swap filter 'dimm'.*did you mean 'dim'"):
        Filters(["dimm"])
    with pytest.raises(ConfigError, match=r"swap_filter\.dim\.factor: 10"):
        Filters(["dim"], {"swap_filter.dim": {"factor": 10}})


def test_a_declared_kind_is_listed_without_an_import(dim):
    code = (
        "import sys; from fs_kernel.cli import run_cli; run_cli(['plugins', 'list', '--json']); "
        "print([m for m in sys.modules if m in ('dim_code', 'fs_swap', 'torch')])"
    )
    path = [str(item) for item in sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    text, _, imported = done.stdout.rstrip().rpartition("\n")
    assert imported == "[]"
    row = next(row for row in json.loads(text) if row["name"] == "dim")
    assert (row["kind"], row["distribution"], row["status"]) == ("swap filter", "fs-dim", "ok")
    assert discovery.kinds()["swap_filters"] == kind_of("swap_filters").word == "swap filter"


def test_show_doctor_and_config_know_it(dim, fs, site):
    site.install("fs-bad", {"swap_filters": {"bad": "bad_code"}}, {"bad_code": "x = 1"})
    out = fs("plugins", "show", "dim")[1]
    assert "hooks: config_defaults, filter_face" in out
    assert "factor = 0.5   [0 .. 9]" in out
    schema = json.loads(fs("config", "schema")[1])
    section = schema["properties"]["swap_filter"]["properties"]["dim"]
    assert section["properties"]["factor"]["maximum"] == 9
    shown = json.loads(fs("config", "show", "--with-installed", "--json")[1])
    assert shown["swap_filter.dim"][0]["value"] == 0.5


def test_the_doctor_examines_filters_and_kinds(site, monkeypatch):
    from fs_doctor import examination

    site.install(
        "fs-x-filters",
        {"swap_filters": {"bad": "bad_code", "dim": "dim_code"}},
        {"bad_code": "x = 1", "dim_code": CODE},
    )
    site.install("fs-x-kinds", {"kinds": {"odd_kinds": "odd_code"}}, {"odd_code": "x = 1"})
    ours = [f for f in discovery.installed() if f.distribution.startswith("fs-x-")]
    real = discovery.installed
    monkeypatch.setattr(discovery, "installed", lambda kind=None: real(kind) if kind else ours)
    found = {f.name: f.problem for f in examination.check_all()}
    assert "lacks the hook filter_face" in found["bad"]
    assert found["dim"] is None
    assert "is not an fs_kernel.plugins.Kind named 'odd_kinds'" in found["odd_kinds"]
