"""Plugins add commands to the kernel's groups; what is broken spoils nobody else's help."""

from __future__ import annotations

COMMAND = """
import click
@click.command()
@click.option("--fail", is_flag=True)
def hello(fail):
    "Say hello."
    if fail:
        raise RuntimeError("no voice")
    click.echo("hello")
not_a_command = 3
"""


def test_a_plugin_adds_a_command_to_the_group(site, fs):
    site.install(
        "fs-hello",
        {
            "commands": {
                "config-hello": "hello_code:hello",
                "config-not": "hello_code:not_a_command",
            }
        },
        {"hello_code": COMMAND},
        metadata="Summary: Says hello.\n",
    )
    out = fs("config", "--help")[1]
    assert "hello   Say hello. (fs-hello)" in out
    assert "config-hello" not in fs("--help")[1]
    assert fs("config-hello")[0] == 2
    assert fs("config", "hello") == (0, "hello\n", "")
    code, _, err = fs("config", "hello", "--fail")
    assert code == 4
    assert "command 'config-hello' (fs-hello 1.0) failed in its command: RuntimeError" in err
    assert fs("config", "not")[0] == 4


def test_no_plugin_takes_the_place_of_a_command_of_the_kernel(site, fs):
    site.install("fs-thief", {"commands": {"config-show": "thief:hello"}}, {"thief": COMMAND})
    assert "hello" not in fs("config", "show", "--help")[1]
    assert fs("config", "--help")[1].count("show ") == 1


def test_a_command_published_by_this_project_is_named_with_its_package(fs, monkeypatch):
    from fs_kernel.plugins import discovery

    kept = [found for found in discovery.installed() if found.name != "config-import"]
    monkeypatch.setattr(
        discovery, "installed", lambda kind=None: [f for f in kept if kind in (None, f.kind)]
    )
    code, _, err = fs("config", "import", "train.ini")
    assert code == 4
    assert "pip install fs-config" in err
    assert fs("config", "nonsense")[0] == 2


def test_a_broken_plugin_is_left_out_of_the_schema(site):
    site.install("fs-bad", {"addons": {"bad": "bad_code"}}, {"bad_code": "raise ValueError('no')"})
    from fs_config.files import installed_sections

    assert "addon.bad" not in installed_sections()
    assert "training" in installed_sections()
