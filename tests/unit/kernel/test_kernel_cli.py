"""The program: exit codes, one clear line, and the facts as JSON."""

from __future__ import annotations

import json
import shutil

import click
import pytest
from fs_kernel import __version__
from fs_kernel.cli import COMMANDS, cli
from fs_kernel.cli.run import run as run_command
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


def test_version(fs):
    assert fs("--version") == (0, f"fs-kernel {__version__}\n", "")


def commands(group=cli, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        if not path and name not in COMMANDS:
            continue
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_everywhere(fs, path, flag):
    code, out, err = fs(*path, flag)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: {' '.join(('fs', *path))}")


def test_every_option_of_run_has_help():
    assert [p.name for p in run_command.params if not getattr(p, "help", "x")] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "-m"),
        (["runn"], "runn"),
        (["run", "-m", "x", "--nonsense"], "--nonsense"),
        (["run", "-m", "x", "-b", "many"], "many"),
        (["run", "-m", "x", "--json"], "--dry-run"),
        (["swap", "x"], "FACES"),
        (["run", "-m", "x", "--max-time", "soon"], "3h50m"),
        (["run", "-m", "x", "--set", "nonsense"], "section.option=value"),
        (["swap", "x", "y", "z", "--direction", "sideways"], "a2b or b2a"),
    ],
)
def test_wrong_commands_exit_2(fs, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, out, err = fs(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert list(tmp_path.iterdir()) == []


def one_line(err):
    assert err.startswith("fs: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["save.keep=0"], "save.keep: 0 is below the smallest value 1"),
        (["save.keep=two"], "save.keep: expected a whole number, got 'two'"),
        (["save.kep=2"], "there is no option save.kep; did you mean 'keep'?"),
        (["sav.keep=2"], "there is no section [sav]; did you mean 'save'?"),
        (["save.optimizer=sometimes"], "'sometimes' is none of always, exit, never"),
        (["save.interval=often"], "write a number of steps"),
    ],
)
def test_wrong_options_are_one_line_each(fs, tmp_path, settings, says):
    given = [part for text in settings for part in ("--set", text)]
    code, _, err = fs("run", "-m", tmp_path / "m", "-t", "fs_kernel.testing:TinyModel", *given)
    assert code == 2
    assert says in one_line(err)
    assert not (tmp_path / "m").exists()


def test_all_wrong_options_at_once(fs, tmp_path):
    settings = ["--set", "save.keep=0", "--set", "sav.x=1", "-b", "9999"]
    code, _, err = fs("run", "-m", tmp_path / "m", "-t", "fs_kernel.testing:TinyModel", *settings)
    assert code == 2
    assert len(err.splitlines()) >= 2
    assert all(line.startswith("fs: ") for line in err.splitlines())


def test_a_missing_toml_file(fs, tmp_path):
    code, _, err = fs("run", "-m", tmp_path / "m", "-c", tmp_path / "no.toml")
    assert code == 2
    assert "cannot read" in one_line(err)


@pytest.mark.parametrize("command", ["info", "checkpoints", "verify", "restore"])
def test_a_folder_without_a_model_exits_5(fs, tmp_path, command):
    code, out, err = fs("model", command, tmp_path / "nothing")
    assert (code, out) == (5, "")
    assert "holds no model" in one_line(err)


def test_a_missing_model_plugin_exits_4_and_names_the_nearest(fs, tmp_path, site):
    site.install("fs-model-aardvark", {"models": {"aardvark": "m"}})
    code, _, err = fs("run", "-m", tmp_path / "m", "-t", "aardvarc")
    assert code == 4
    assert "there is no model 'aardvarc'" in one_line(err)
    assert "did you mean 'aardvark'?" in err
    assert not (tmp_path / "m").exists()


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


def test_plugins_list_as_json(fs, site):
    site.install("fs-model-aaa", {"models": {"aaa": "m"}}, version="1.5")
    code, out, _ = fs("plugins", "list", "--json")
    assert code == 0
    (row,) = [row for row in json.loads(out) if row["name"] == "aaa"]
    assert {k: row[k] for k in ("kind", "distribution", "version", "api", "status")} == {
        "kind": "model",
        "distribution": "fs-model-aaa",
        "version": "1.5",
        "api": 1,
        "status": "ok",
    }
    assert [r["name"] for r in json.loads(fs("models", "--json")[1])] == [
        r["name"] for r in json.loads(out) if r["kind"] == "model"
    ]


def test_nothing_installed_says_what_to_do(fs, monkeypatch):
    from fs_kernel.plugins import discovery

    monkeypatch.setattr(discovery, "_scan", lambda: ())
    code, out, _ = fs("plugins", "list")
    assert code == 0
    assert "pip install" in out
    assert json.loads(fs("plugins", "list", "--json")[1]) == []
    code, _, err = fs("run", "-m", "nowhere")
    assert code == 4
    assert "pip install fs-model-original" in one_line(err)


def test_plugins_show_of_what_is_not_there(fs):
    code, _, err = fs("plugins", "show", "no-such-plugin")
    assert code == 4
    assert "no plugin is called 'no-such-plugin'" in one_line(err)


def test_a_fault_of_the_kernel_is_one_line_and_a_log(fs, monkeypatch, tmp_path):
    def broken():
        raise RuntimeError("inner\nfault")

    from fs_kernel.cli import plugins

    monkeypatch.setattr(plugins, "rows", broken)
    code, _, err = fs("plugins", "list")
    assert code == 1
    assert "this is a fault in fs-kernel: RuntimeError: inner (details: " in one_line(err)
    assert "Traceback" in (tmp_path / "state/fs-kernel/errors.log").read_text()


def test_an_interrupt_is_one_line(fs, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    from fs_kernel.cli import plugins

    monkeypatch.setattr(plugins, "rows", interrupt)
    code, _, err = fs("plugins", "list")
    assert (code, err.strip()) == (130, "fs: interrupted")


# --- commands of plugins ---


COMMAND = """
import click

@click.command()
@click.option("--fail", default="")
def command(fail):
    "Do something."
    if fail == "error":
        raise ValueError("broken command")
    if fail == "exit":
        raise SystemExit(3)
    click.echo("done")
"""


def test_a_plugins_command_is_a_command(fs, site):
    site.install(
        "fs-cmd",
        {"commands": {"frobnicate": "frob_code:command"}},
        {"frob_code": COMMAND},
        metadata="Summary: Frobnicates.\n",
    )
    assert "Frobnicates. (fs-cmd)" in " ".join(fs("--help")[1].split())
    assert fs("frobnicate") == (0, "done\n", "")
    assert fs("frobnicate", "-h")[0] == 0


def test_a_plugins_command_that_fails_is_blamed(fs, site):
    site.install(
        "fs-cmd", {"commands": {"frobnicate": "frob_code:command"}}, {"frob_code": COMMAND}
    )
    code, _, err = fs("frobnicate", "--fail", "error")
    assert code == 4
    assert "command 'frobnicate' (fs-cmd 1.0) failed" in one_line(err)
    assert "ValueError: broken command" in err


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ValueError('at import')", "failed in its import: ValueError: at import"),
        ("import sys; sys.exit(3)", "it called sys.exit(3)"),
        ("command = 5", "is no click command"),
        ("", "AttributeError"),
    ],
)
def test_a_plugins_command_that_cannot_be_loaded(fs, site, code, says):
    site.install("fs-cmd", {"commands": {"frobnicate": "frob_bad:command"}}, {"frob_bad": code})
    assert fs("--help")[0] == 0
    exit_code, _, err = fs("frobnicate")
    assert exit_code == 4
    assert says in one_line(err)


def test_a_command_may_not_take_the_place_of_the_kernels(fs, site):
    site.install("fs-cmd", {"commands": {"run": "frob_code:command"}}, {"frob_code": COMMAND})
    assert fs("run", "-h")[1].startswith("Usage: fs run [OPTIONS]\n\n  Train a model")


def test_restore_goes_by_when_checkpoints_were_written(fs, folder):
    """After going back to 2 and training to 3, step 4 is the older of the two."""
    assert fs("model", "restore", folder, "000000002")[0] == 0
    with tiny_run(folder.parent, set={"training.iterations": 3, "save.keep": 3}) as run:
        run.train()
    assert Checkpoints(folder).current_name() == "000000003"
    assert fs("model", "restore", folder)[0] == 0
    assert Checkpoints(folder).current_name() == "000000004"
