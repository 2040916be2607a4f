"""The ``fs`` program: ``fs run``, and the commands that packages add.

Importing this package and ``fs --help`` import neither torch nor keras nor any plugin: a command's
module is imported when the command is typed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Container, Sequence
from typing import Any

import click

from fs_kernel import __version__
from fs_kernel.errors import FsError, PluginError
from fs_kernel.plugins import discovery
from fs_kernel.training import records as events

#: The kernel's commands: name -> (module:attribute, help line).
COMMANDS = {
    "run": ("fs_kernel.cli.run:run", "Train a model, or resume the one the folder holds."),
}


class OpenGroup(click.Group):
    """A group of commands that packages add to: an entry "config-import" is ``fs config import``.

    What packages add is known from their metadata, and imported when it is typed. The group itself
    may come from a package, too; the entry that names it is called as the group is ("config").
    """

    def entry(self, name: str) -> str:
        """Return the name of the entry point that adds the command ``name`` to this group."""
        return f"{self.name}-{name}"

    def added(self) -> dict[str, discovery.InstalledPlugin]:
        """Return the entry points that packages add, by the name to type."""
        start, own = self.entry(""), set(self.own_commands())
        found = {
            item.name.removeprefix(start): item
            for item in discovery.installed("commands")
            if item.name.startswith(start)
        }
        return {name: item for name, item in sorted(found.items()) if name not in own}

    def own_commands(self) -> list[str]:
        """Return the names of the group's own commands, which no package can replace."""
        return list(self.commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the group's own commands, then of those that packages add."""
        return [*self.own_commands(), *self.added()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a name, imported if a package adds it; None if there is none."""
        if name in self.commands:
            return self.commands[name]
        entry = self.entry(name)
        if name not in self.added():
            if discovery.published("commands", entry):
                discovery.find("commands", entry)
            return None
        from fs_kernel.plugins.loading import load

        chosen = load("commands", entry)
        if not isinstance(chosen.plugin, click.Command):
            raise PluginError(f"{chosen} is not a click command", entry)
        return chosen.plugin

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a package's command raises is reported with the package's name."""
        try:
            return super().invoke(ctx)
        except (FsError, click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            name = ctx.invoked_subcommand
            if name is None or name not in self.added():
                raise
            from fs_kernel.plugins.loading import blame, load

            raise blame(load("commands", self.entry(name)), "its command", error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' help lines."""
        rows = [(name, self.help_of_own(name)) for name in self.own_commands()]
        rows += [
            (name, f"{self.help_of_added(ctx, name, item)} ({item.distribution})")
            for name, item in self.added().items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def help_of_own(self, name: str) -> str:
        """Return the help line of one of the group's own commands."""
        return self.commands[name].get_short_help_str(80)

    def help_of_added(self, ctx: click.Context, name: str, item: discovery.InstalledPlugin) -> str:
        """Return the help line of an added command; its package's where it cannot be imported."""
        try:
            command = self.get_command(ctx, name)
        except FsError:
            command = None
        return item.summary if command is None else command.get_short_help_str(80)


class Program(OpenGroup):
    """The program itself; its help comes from a table and from metadata, so nothing is imported."""

    def entry(self, name: str) -> str:
        """Return ``name``: commands of the program have no prefix."""
        return name

    def added(self) -> dict[str, discovery.InstalledPlugin]:
        """Return the entry points of packages, but those of groups, by the name to type.

        "config-import" belongs to a group where "config" is a command, installed or published.
        """
        found = super().added()
        return {name: item for name, item in found.items() if not _has_group(name, found)}

    def own_commands(self) -> list[str]:
        """Return the names of the kernel's commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a name, imported."""
        if name not in COMMANDS:
            return super().get_command(ctx, name)
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def help_of_own(self, name: str) -> str:
        """Return the help line of a command, from the table."""
        return COMMANDS[name][1]

    def help_of_added(self, ctx: click.Context, name: str, item: discovery.InstalledPlugin) -> str:
        """Return the line that the command's package says about itself."""
        return item.summary


def _has_group(name: str, commands: Container[str]) -> bool:
    group, dash, _ = name.partition("-")
    return bool(dash) and (group in commands or bool(discovery.published("commands", group)))


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="fs-kernel %(version)s")
@click.option("--traceback", is_flag=True, help="Print the traceback of a plugin's failure.")
def cli(**_: bool) -> None:
    """Train face-swap networks. For research, film and satire with people who agreed to it."""


def say(line: str) -> None:
    """Print one line for the user, on stderr."""
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
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Users add it at the end of the command that failed.
    shows, typed = "--traceback" in given, [item for item in given if item != "--traceback"]
    try:
        result: Any = cli.main(args=typed, prog_name="fs", standalone_mode=False, obj=typed)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        command = where.command_path if where is not None else "fs"
        say(f"fs: {error.format_message().rstrip('.')}; see: {command} --help")
        return 2
    except FsError as error:
        *lines, last = str(error).splitlines() or [""]
        if isinstance(error, PluginError) and error.__cause__ is not None:
            path = error.traceback or events.log_error(events.user_log_folder(), error)
            last += f" (traceback: {path})" if path else ""
            if shows:
                say("".join(traceback.format_exception(error)).rstrip())
        for line in () if error.quiet else (*lines, last):
            say(f"fs: {line}")
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
