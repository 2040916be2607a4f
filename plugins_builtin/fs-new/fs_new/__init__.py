"""Implement ``fs new``: write a plugin package, ready to install and test."""

from __future__ import annotations

import json
import keyword
import re
from pathlib import Path
from typing import Any

import click
from fs_kernel.cli import say
from fs_kernel.errors import PluginError, UsageError
from fs_kernel.plugins import discovery

KINDS = ("model", "trainer", "objective", "feed", "executor", "addon", "loss", "optimizer")
LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause", "GPL-3.0-or-later", "none")
_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
_NEXT = {
    "model": "-t {}",
    "trainer": "--trainer {}",
    "objective": "--set training.objectives={}",
    "feed": "--set training.feed={}",
    "executor": "--set training.executor={}",
    "addon": "--set training.addons=console,preview,{}",
    "loss": "--set loss.loss_function={}",
    "optimizer": "--set optimizer.optimizer={}",
}


def kinds() -> dict[str, str]:
    """Return the kinds of plugins there is a package for: the word to type -> the group's name."""
    own = {kind: f"{kind}es" if kind == "loss" else f"{kind}s" for kind in KINDS}
    declared = [kind for kind in discovery.kinds() if kind not in discovery.KINDS]
    return own | {discovery.singular(kind): kind for kind in declared}


def _one_of_kinds(context: click.Context, parameter: click.Parameter, value: str) -> str:
    # Asked for when the command runs: what packages declare changes with what is installed.
    kind: str = click.Choice(list(kinds())).convert(value, parameter, context)
    return kind


@click.command()
@click.argument("kind", callback=_one_of_kinds)
@click.argument("name")
@click.option("--license", type=click.Choice(LICENSES), help="Of the package.  [Apache-2.0]")
@click.option("--author", help="Your name, for package and license.")
@click.option("--description", help="One line about it.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where the package's folder goes.  [here]",
)
@click.option("--from", "source", metavar="FILE.py[:OBJECT]", help="Your own file as its code.")
@click.option("--json", "as_json", is_flag=True, help="Print facts as JSON on stdout.")
def new(
    kind: str, name: str, output: Path, source: str | None, as_json: bool, **given: str | None
) -> None:
    """Write a package with a plugin of KIND called NAME.

    KIND is model, trainer, objective, feed, executor, addon, loss, optimizer, or one that an
    installed package declares, such as swap_filter. The package works as it is: install it, run its
    tests, train with it, then change it.
    """
    check_name(kind, name)
    values = {key: value for key, value in given.items() if value is not None}
    if source is not None:
        values |= read_source(kind, name, source)
    if kind not in KINDS:
        values = hosted(kind, name) | values
        if not values["_source"]:
            raise PluginError(f"{kind} has no example to start from; give --from FILE.py", name)
        folder = render(output, name=name, **values)
    else:
        folder = render(output, kind=kind, name=name, **values)
    if as_json:
        click.echo(json.dumps({"kind": kind, "name": name, "folder": str(folder)}))
        return
    click.echo(folder)
    say(f'next:\n  pip install -e "{folder}[test]"\n  pytest {folder}')
    if kind in KINDS:
        say(f"  fs run {_NEXT[kind].format(name)} -A FACES_OF_A -B FACES_OF_B -m MODEL_FOLDER")
    else:
        say(f"  fs plugins show {name}")


def hosted(kind: str, name: str) -> dict[str, str]:
    """Return the template's variables for a kind of plugin that a package declares.

    Raises:
        PluginError: the package cannot be used.
    """
    from fs_kernel.plugins import kind_of

    group = kinds()[kind]
    host, declared = discovery.find("kinds", group), kind_of(group)
    return {
        "kind": "addon",
        "description": f"A {declared.word} for {host.distribution}.",
        "distribution": f"fs-{kind}-{name}".replace("_", "-"),
        "__group": group,
        "_host": host.distribution,
        "_source": declared.example.replace("{name}", name).rstrip("\n"),
    }


def check_name(kind: str, name: str) -> None:
    """Check that a name can be a plugin's and is free.

    Raises:
        UsageError: it cannot, or another package has it.
    """
    if not _NAME.fullmatch(name) or name.endswith("_") or "__" in name:
        raise UsageError(
            f"{name!r} is not a name for a plugin: 2 to 40 small letters, digits and single "
            "underscores, a letter first (my_net)"
        )
    if keyword.iskeyword(name):
        raise UsageError(f"'{name}' is a word of Python; choose another name")
    group = kinds()[kind]
    own = f"fs-{kind}-{name}".replace("_", "-")
    owners = {found.distribution for found in discovery.installed(group) if found.name == name}
    owner = discovery.published(group, name) or next(iter(owners - {own}), None)
    if owner is not None:
        raise UsageError(f"the {kind} '{name}' is in {owner}; choose another name")


def read_source(kind: str, name: str, reference: str) -> dict[str, str]:
    """Return the template's variables for a file that becomes the package's code.

    Args:
        kind: of the plugin.
        name: of the plugin.
        reference: ``path.py`` or ``path.py:Object``, as ``fs run`` takes it.

    Raises:
        UsageError: there is no such file.
        PluginError: it is not Python, lacks the object, or is not a plugin of this kind.
    """
    from fs_kernel.plugins import has_hooks, load, make_role

    path, _, attribute = reference.partition(".py")
    file = Path(f"{path}.py")
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    group = kinds()[kind]
    item = load(group, reference)
    if has_hooks(group):
        make_role(group, item)
    if item.source is None:
        raise PluginError(f"{reference} is not a file", name)
    text = item.source.code.decode("utf-8-sig").rstrip("\n")
    return {"_source": text, "__object": attribute}


def template() -> Path:
    """Return the template's folder: packed into the wheel, or at the top of the repository."""
    packed = Path(__file__).with_name("plugin_template")
    return packed if packed.is_dir() else Path(__file__).parents[3] / "plugin_template"


def render(output: Path, **values: Any) -> Path:
    """Write the package.

    Args:
        output: where its folder goes.
        values: of the variables in ``cookiecutter.json``.

    Returns:
        The package's folder.

    Raises:
        UsageError: the folder exists, or cannot be written.
    """
    from cookiecutter.exceptions import CookiecutterException, OutputDirExistsException
    from cookiecutter.generate import generate_context, generate_files
    from cookiecutter.prompt import prompt_for_config

    source = template()
    context = generate_context(str(source / "cookiecutter.json"), extra_context=values)
    context["cookiecutter"] = prompt_for_config(context, no_input=True)
    folder: Path = output / context["cookiecutter"]["distribution"]
    try:
        generate_files(source, context, output)
    except OutputDirExistsException:
        raise UsageError(f"{folder} exists; choose another name, or --output") from None
    except (CookiecutterException, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot write {folder}: {reason}") from error
    return folder
