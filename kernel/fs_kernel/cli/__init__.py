"""The ``fs`` program: the kernel's own commands and those of plugins.

Importing this package, ``fs --help`` and ``fs plugins list`` import neither torch nor keras nor any
plugin: a command's module is imported when the command is typed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from fs_kernel import __version__, discovery, events
from fs_kernel.errors import FsError, PluginError

#: The kernel's commands: name -> (module:attribute, help line).
COMMANDS = {
    "run": ("fs_kernel.cli.run:run", "Train a model, or resume the one the folder holds."),
    "swap": ("fs_kernel.cli.swap:swap", "Swap the faces of a folder with a trained model."),
    "model": ("fs_kernel.cli.model:model", "Look at a model folder and its checkpoints."),
    "models": ("fs_kernel.cli.plugins:models", "List the installed networks."),
    "plugins": ("fs_kernel.cli.plugins:plugins", "What is installed, and what is wrong with it."),
    "config": ("fs_kernel.cli.config:config", "Show the options of a run."),
}


class LazyGroup(click.Group):
    """A group that knows its commands from a table and from package metadata."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        extra = {found.name for found in discovery.installed("commands")}
        return [*COMMANDS, *sorted(extra - set(COMMANDS))]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        if not any(found.name == name for found in discovery.installed("commands")):
            if discovery.published("commands", name):
                discovery.find("commands", name)
            return None
        from fs_kernel.loading import load

        chosen = load("commands", name)
        if not isinstance(chosen.plugin, click.Command):
            raise PluginError(f"{chosen} is no click command", name)
        return chosen.plugin

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (FsError, click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            name = ctx.invoked_subcommand
            if name is None or name in COMMANDS:
                raise
            from fs_kernel.loading import blame, load

            raise blame(load("commands", name), "its command", error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, line) for name, (_, line) in COMMANDS.items()]
        rows += [
            (found.name, f"{found.summary} ({found.distribution})")
            for found in discovery.installed("commands")
            if found.name not in COMMANDS
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="fs-kernel %(version)s")
def cli() -> None:
    """Train face-swap networks. For research, film and satire with people who agreed to it."""


def say(line: str) -> None:
    """One line for the user, on stderr."""
    # The terminal may be gone.
    with contextlib.suppress(OSError, ValueError):
        click.echo(line, err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with the code of what happened (see `fs_kernel.errors`)."""
    sys.exit(run_cli(arguments))


def run_cli(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        The exit code.
    """
    try:
        result: Any = cli.main(args=arguments, prog_name="fs", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        command = where.command_path if where is not None else "fs"
        say(f"fs: {error.format_message().rstrip('.')}; see: {command} --help")
        return 2
    except FsError as error:
        for line in str(error).splitlines():
            say(f"fs: {line}")
        if isinstance(error, PluginError) and error.__cause__ is not None:
            events.log_error(events.user_log_folder(), error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("fs: interrupted")
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        return 0
    except Exception as error:
        path = events.log_error(events.user_log_folder(), error)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        say(f"fs: this is a fault in fs-kernel: {reason}" + (f" (details: {path})" if path else ""))
        return 1
