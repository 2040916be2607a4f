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

from fs_kernel import __version__
from fs_kernel.errors import FsError, PluginError
from fs_kernel.plugins import discovery
from fs_kernel.training import records as events

#: The kernel's commands: name -> (module:attribute, help line).
COMMANDS = {
    "run": ("fs_kernel.cli.run:run", "Train a model, or resume the one the folder holds."),
    "swap": ("fs_kernel.cli.swap:swap", "Swap the faces of a folder with a trained model."),
    "model": ("fs_kernel.cli.model:model", "Look at a model folder and its checkpoints."),
    "models": ("fs_kernel.cli.plugins:models", "List the installed networks."),
    "plugins": ("fs_kernel.cli.plugins:plugins", "What is installed, and what is wrong with it."),
    "config": ("fs_kernel.cli.config:config", "The options of a run, and files of them."),
}


#: Groups of the kernel that plugins add to: an entry "config-import" is ``fs config import``.
OPEN_GROUPS = ("config-", "plugins-")


class PluginGroup(click.Group):
    """A group that plugins add to, known from package metadata and imported when typed.

    Args:
        prefix: what the names of the entries that belong here begin with.
    """

    def __init__(self, *args: Any, prefix: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self._prefix = prefix

    def plugins(self) -> dict[str, discovery.Found]:
        """What plugins add, by the name to type."""
        own = set(self.own_commands())
        foreign = () if self._prefix else OPEN_GROUPS
        found = {
            item.name.removeprefix(self._prefix): item
            for item in discovery.installed("commands")
            if item.name.startswith(self._prefix) and not item.name.startswith(foreign)
        }
        return {name: item for name, item in sorted(found.items()) if name not in own}

    def own_commands(self) -> list[str]:
        """The kernel's."""
        return list(self.commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the program's own commands, then of plugins'."""
        return [*self.own_commands(), *self.plugins()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a name, imported if it is a plugin's."""
        if name in self.commands:
            return self.commands[name]
        entry = self._prefix + name
        if name not in self.plugins():
            if discovery.published("commands", entry):
                discovery.find("commands", entry)
            return None
        from fs_kernel.plugins.loading import load

        chosen = load("commands", entry)
        if not isinstance(chosen.plugin, click.Command):
            raise PluginError(f"{chosen} is no click command", entry)
        return chosen.plugin

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and blame a plugin for what its command raises."""
        try:
            return super().invoke(ctx)
        except (FsError, click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            name = ctx.invoked_subcommand
            if name is None or name not in self.plugins():
                raise
            from fs_kernel.plugins.loading import blame, load

            raise blame(load("commands", self._prefix + name), "its command", error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands' help lines; the program's own imports no plugin for them."""
        rows = [(name, self.help_of(ctx, name)) for name in self.own_commands()]
        rows += [
            (name, f"{self.help_of_plugin(ctx, name, item)} ({item.distribution})")
            for name, item in self.plugins().items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def help_of_plugin(self, ctx: click.Context, name: str, item: discovery.Found) -> str:
        """The line of a plugin's command; its package's where the command cannot be used."""
        try:
            command = self.get_command(ctx, name)
        except FsError:
            command = None
        return item.summary if command is None else command.get_short_help_str(80)

    def help_of(self, ctx: click.Context, name: str) -> str:
        """The line of one of the kernel's commands."""
        return self.commands[name].get_short_help_str(80)


class LazyGroup(PluginGroup):
    """The program itself: the kernel's commands come from a table."""

    def own_commands(self) -> list[str]:
        """The kernel's commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command that was typed."""
        if name not in COMMANDS:
            return super().get_command(ctx, name)
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def help_of_plugin(self, ctx: click.Context, name: str, item: discovery.Found) -> str:
        """What the metadata of the package says."""
        return item.summary

    def help_of(self, ctx: click.Context, name: str) -> str:
        """The help line of a command, from the table or from metadata."""
        return COMMANDS[name][1]


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
        given = list(sys.argv[1:] if arguments is None else arguments)
        result: Any = cli.main(args=given, prog_name="fs", standalone_mode=False, obj=given)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        command = where.command_path if where is not None else "fs"
        say(f"fs: {error.format_message().rstrip('.')}; see: {command} --help")
        return 2
    except FsError as error:
        for line in () if error.quiet else str(error).splitlines():
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
