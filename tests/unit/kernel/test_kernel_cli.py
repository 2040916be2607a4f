"""The program: exit codes, one clear line, and the facts as JSON."""

from __future__ import annotations

import click
import pytest
from fs_kernel import __version__
from fs_kernel.cli import COMMANDS, Program, cli
from fs_kernel.cli.run import run as run_command


def test_version(fs):
    assert fs("--version") == (0, f"fs-kernel {__version__}\n", "")


def commands(group=cli, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        if not path and name not in (*COMMANDS, "config", "model", "models", "plugins", "swap"):
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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dry-run"], "fs: --dry-run needs fs-dry-run: pip install fs-dry-run"),
        (["-b", "auto"], "fs: a batch size of 'auto' needs fs-dry-run: pip install fs-dry-run"),
    ],
)
def test_what_another_package_does_is_named_with_it(fs, tmp_path, monkeypatch, arguments, says):
    from fs_kernel.plugins import discovery

    real = discovery.installed
    monkeypatch.setattr(
        discovery, "installed", lambda kind=None: [] if kind == "tools" else real(kind)
    )
    code, out, err = fs("run", "-m", tmp_path / "m", *arguments)
    assert (code, out, err.strip()) == (4, "", says)


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


def test_a_missing_model_plugin_exits_4_and_names_the_nearest(fs, tmp_path, site):
    site.install("fs-model-aardvark", {"models": {"aardvark": "m"}})
    code, _, err = fs("run", "-m", tmp_path / "m", "-t", "aardvarc")
    assert code == 4
    assert "there is no model 'aardvarc'" in one_line(err)
    assert "did you mean 'aardvark'?" in err
    assert not (tmp_path / "m").exists()


def test_a_fault_of_the_kernel_is_one_line_and_a_log(fs, monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError("inner\nfault")

    monkeypatch.setattr(Program, "format_commands", broken)
    code, _, err = fs("--help")
    assert code == 1
    assert "this is a fault in fs-kernel: RuntimeError: inner (details: " in one_line(err)
    assert "Traceback" in (tmp_path / "state/fs-kernel/errors.log").read_text()


def test_an_interrupt_is_one_line(fs, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Program, "format_commands", interrupt)
    code, _, err = fs("--help")
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
        ("command = 5", "is not a click command"),
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
