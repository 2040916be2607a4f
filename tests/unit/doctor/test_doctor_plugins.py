"""``fs plugins doctor``: every way a plugin can be broken is named, and hurts nobody else."""

from __future__ import annotations

import json

import pytest
from fake_packages import empty_plugin
from fs_doctor import examination
from fs_kernel.cli import run_cli
from fs_kernel.plugins import discovery

ADDON = "from fs_kernel import hookimpl\n\n@hookimpl\ndef create_addon(run):\n    pass\n"


@pytest.fixture
def findings(site, monkeypatch):
    """Installs plugins named by their faults and lets the doctor look at them alone."""

    def look(limit=60.0, **plugins):
        for name, (kind, code, extra) in plugins.items():
            site.install(
                f"fs-x-{name}", {kind: {name: f"sick_{name}"}}, {f"sick_{name}": code}, **extra
            )
        ours = [f for f in discovery.installed() if f.distribution.startswith("fs-x-")]
        real = discovery.installed
        monkeypatch.setattr(discovery, "installed", lambda kind=None: real(kind) if kind else ours)
        return {finding.name: finding for finding in examination.check_all(limit)}

    return look


FAULTS = {
    "healthy": ("addons", ADDON, {}, None),
    "raising": ("addons", "raise ValueError('out of order')", {}, "ValueError: out of order"),
    "missing": ("addons", "import fs_not_there", {}, "No module named 'fs_not_there'"),
    "syntax": ("addons", "def (:", {}, "SyntaxError"),
    "leaving": ("addons", "import sys; sys.exit(5)", {}, "it called sys.exit(5)"),
    "killing": ("addons", "import os; os._exit(9)", {}, "ended the process (code 9)"),
    "printing": ("addons", "print('{}'); print('{\"problem\": 1}')\n" + ADDON, {}, None),
    "typo": (
        "models",
        empty_plugin("models") + "\n@hookimpl\ndef freeze_layer(): pass\n",
        {},
        "'freeze_layer' is not a hook of a model; did you mean 'freeze_layers'?",
    ),
    "arguments": (
        "models",
        empty_plugin("models") + "\n@hookimpl\ndef load_layers(model): pass\n",
        {},
        "model",
    ),
    "lacking": ("trainers", "x = 1", {}, "lacks the hooks create_trainer, get_sampler"),
    "options": (
        "addons",
        ADDON + "\n@hookimpl\ndef config_defaults():\n    return {'addon.x': int.no}\n",
        {},
        "failed in config_defaults",
    ),
    "older": ("addons", ADDON, {"api": 0}, "written for plugin API 0"),
    "newer": ("addons", ADDON, {"api": 99}, "upgrade fs-kernel"),
    "command": ("commands", "x = 1", {}, "is not a click command"),
}


def test_every_fault_is_named_and_blamed_on_its_own(findings):
    found = findings(**{name: fault[:3] for name, fault in FAULTS.items()})
    assert set(found) == set(FAULTS)
    for name, (_, _, _, problem) in FAULTS.items():
        if problem is None:
            assert found[name].problem is None, found[name]
            assert 0 <= found[name].import_seconds < 60
        else:
            assert problem in found[name].problem, found[name]


def test_an_import_without_end_is_cut_off(findings):
    found = findings(limit=3.0, endless=("addons", "import time; time.sleep(600)", {}))
    assert "did not end within 3 s" in found["endless"].problem


def test_one_bad_plugin_of_a_package_leaves_the_others(site, monkeypatch):
    entries = {"addons": {"aaa": "many_a", "bbb": "many_b", "ccc": "many_c"}}
    site.install(
        "fs-x-many", entries, {"many_a": ADDON, "many_b": "import os; os._exit(1)", "many_c": ADDON}
    )
    ours = [f for f in discovery.installed() if f.distribution == "fs-x-many"]
    monkeypatch.setattr(discovery, "installed", lambda kind=None: ours if kind is None else [])
    assert [bool(f.problem) for f in examination.check_all()] == [False, True, False]


def test_two_owners_of_one_name(findings, site):
    site.install("fs-x-other", {"addons": {"double": "sick_double"}}, version="2.0")
    found = findings(double=("addons", ADDON, {}))
    assert "fs-x-double 1.0 and fs-x-other 2.0; uninstall one" in found["double"].problem


def test_notes_that_break_nothing(findings):
    found = findings(
        slow=("addons", "import time; time.sleep(1.2)\n" + ADDON, {}),
        unmarked=("addons", ADDON + "\ndef check_options(config):\n    pass\n", {}),
        silent=("addons", ADDON, {"api": None}),
        waiving=("addons", ADDON + "\nWAIVED = {'test_x': 'it draws by hand'}\n", {}),
    )
    assert [f.problem for f in found.values()] == [None] * 4
    assert "its import takes 1." in found["slow"].notes[0]
    assert found["unmarked"].notes == [
        "check_options is not marked with @hookimpl, so it is never called"
    ]
    assert "does not declare a plugin API" in found["silent"].notes[0]
    assert found["waiving"].waived == {"test_x": "it draws by hand"}
    assert "waived test_x: it draws by hand" in found["waiving"].lines()[0]


def test_a_deprecated_argument_is_a_note(findings, monkeypatch, site):
    """What the compatibility policy promises: authors hear of it from the doctor."""
    code = (
        "import warnings\nfrom fs_kernel import hookimpl, hookspecs\n"
        "hookspecs.AddOnHooks.create_addon.fs_kernel_spec['warn_on_impl_args'] = {\n"
        "    'run': DeprecationWarning('run goes away in API 2')}\n" + ADDON
    )
    found = findings(dated=("addons", code, {}))
    assert found["dated"].problem is None
    assert any("run goes away in API 2" in note for note in found["dated"].notes)


def test_packages_that_nobody_can_use(site):
    site.install("fs-x-kind", {"model": {"aaa": "m"}})
    folder = site.install("fs-x-torn", {"models": {"bbb": "m"}})
    (folder / "entry_points.txt").write_bytes(b"[fs_kernel.models\nx=y")
    nameless = site.install("fs-x-nameless", {"models": {"ccc": "m"}})
    (nameless / "METADATA").write_text("Version: 1.0\n")
    problems = {f.distribution: f.problem for f in examination._packages()}
    assert "'fs_kernel.model' is not a kind of plugin" in problems["fs-x-kind"]
    assert "did you mean 'models'?" in problems["fs-x-kind"]
    assert "no name" in problems["unknown"]
    assert "fs-x-torn" not in problems or "cannot be read" in problems["fs-x-torn"]


@pytest.mark.parametrize("code", [ADDON, "raise ValueError('out of order')"], ids=["good", "bad"])
def test_the_command(findings, capsys, code):
    findings(only=("addons", code, {}))
    bad = code != ADDON
    assert run_cli(["plugins", "doctor"]) == (4 if bad else 0)
    text = capsys.readouterr().out
    assert ("add-on 'only' (fs-x-only 1.0): broken: " in text) == bad
    assert text.splitlines()[-1] == ("1 plugins, 1 broken" if bad else "1 plugins, none broken")
    assert run_cli(["plugins", "doctor", "--json"]) == (4 if bad else 0)
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["kind"], facts["api"]) == ("only", "add-on", 1)
    assert (facts["problem"] is not None) == bad


def test_show_names_hooks_options_and_documentation(site, capsys):
    code = (
        "import attrs\nfrom fs_kernel import hookimpl, option\n"
        "@attrs.frozen\nclass Options:\n"
        "    power: int = option(3, 'How strong.', minimum=1, maximum=9)\n"
        "@hookimpl\ndef config_defaults():\n    return {'addon.shown': Options}\n" + ADDON
    )
    url = "Project-URL: Documentation, https://example.org/shown\n"
    site.install(
        "fs-x-shown", {"addons": {"shown": "sick_shown"}}, {"sick_shown": code}, metadata=url
    )
    assert run_cli(["plugins", "show", "shown"]) == 0
    text = capsys.readouterr().out
    assert "documentation: https://example.org/shown" in text
    assert "hooks: config_defaults, create_addon" in text
    assert "power = 3   [1 .. 9]\n      How strong." in text
    assert run_cli(["plugins", "show", "shown", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["hooks"] == ["config_defaults", "create_addon"]
    assert facts["options"]["addon.shown"][0]["maximum"] == 9
    assert (facts["docs"], facts["api"], facts["editable"]) == (
        "https://example.org/shown",
        1,
        False,
    )
