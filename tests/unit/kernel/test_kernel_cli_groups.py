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

    kept = [found for found in discovery.installed() if found.name != "config"]
    monkeypatch.setattr(
        discovery, "installed", lambda kind=None: [f for f in kept if kind in (None, f.kind)]
    )
    code, _, err = fs("config", "import", "train.ini")
    assert code == 4
    assert "pip install fs-config" in err
    assert "pip install" not in fs("nonsense")[2]


GROUP = """
import click
from fs_kernel.cli import OpenGroup
@click.group(cls=OpenGroup)
def album():
    "Pictures."
@album.command()
def own():
    "Say own."
    click.echo("own")
"""


def test_a_group_of_a_package_is_open_to_other_packages(site, fs):
    site.install("fs-album", {"commands": {"album": "album_code:album"}}, {"album_code": GROUP})
    site.install(
        "fs-hello",
        {"commands": {"album-hello": "hello_code:hello", "album-own": "hello_code:hello"}},
        {"hello_code": COMMAND},
    )
    out = fs("album", "--help")[1]
    assert "own    Say own." in out
    assert "hello  Say hello. (fs-hello)" in out
    assert fs("album", "hello") == (0, "hello\n", "")
    assert fs("album", "own") == (0, "own\n", "")
    assert "album-hello" not in fs("--help")[1]
    assert fs("album", "nonsense")[0] == 2


def test_a_dash_in_a_name_means_a_group_only_where_there_is_one(site, fs):
    entries = {"commands": {"say-hello": "hello_code:hello"}}
    site.install("fs-hello", entries, {"hello_code": COMMAND})
    assert "say-hello" in fs("--help")[1]
    assert fs("say-hello") == (0, "hello\n", "")


def test_a_broken_plugin_is_left_out_of_the_schema(site):
    site.install("fs-bad", {"addons": {"bad": "bad_code"}}, {"bad_code": "raise ValueError('no')"})
    from fs_config.files import installed_sections

    assert "addon.bad" not in installed_sections()
    assert "training" in installed_sections()
