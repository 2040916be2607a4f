"""``fs plugins`` and ``fs models``: what is installed, from metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fs_kernel.cli import PluginGroup
from fs_kernel.hookspecs import API_VERSION
from fs_kernel.plugins import discovery


def rows(kind: str | None = None) -> list[dict[str, Any]]:
    """One row per installed plugin; nothing is imported."""
    found = discovery.installed(kind)
    twice = discovery.duplicates(found)
    return [
        {
            "name": item.name,
            "kind": discovery.KINDS[item.kind],
            "distribution": item.distribution,
            "version": item.version,
            "editable": item.editable,
            "api": item.api,
            "status": _status(item, (item.kind, item.name) in twice),
        }
        for item in found
    ]


def _status(item: discovery.Found, duplicate: bool) -> str:
    if duplicate:
        return "duplicate name"
    if item.api is not None and item.api != API_VERSION:
        return "too new" if item.api > API_VERSION else "too old"
    return "ok"


def _print(
    table: list[dict[str, Any]],
    as_json: bool,
    heads: tuple[str, ...] = (
        "kind",
        "name",
        "distribution",
        "version",
        "editable",
        "api",
        "status",
    ),
) -> None:
    if as_json:
        click.echo(json.dumps(table, indent=1))
        return
    if not table:
        click.echo("nothing is installed; pip install fs-model-original to begin")
        return
    cells = [[_cell(row[h]) for h in heads] for row in table]
    widths = [max(len(r[i]) for r in [list(heads), *cells]) for i in range(len(heads))]
    for line in [list(heads), *cells]:
        click.echo("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


@click.group(cls=PluginGroup, prefix="plugins-")
def plugins() -> None:
    """What is installed, and what is wrong with it."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    """Every installed plugin, from metadata alone."""
    _print(rows(), as_json)


@plugins.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(name: str, as_json: bool) -> None:
    """Options, hooks and documentation of every installed plugin called NAME."""
    from fs_kernel import describe

    describe.show_plugin(name, as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def models(as_json: bool) -> None:
    """The installed networks with their sizes, at default options."""
    from fs_kernel.errors import FsError
    from fs_kernel.summary import summarise
    from fs_kernel.training.resolve import Request, resolve_run

    table = []
    for row in rows("models"):
        try:
            facts = summarise(resolve_run(Request(Path(), row["name"]), ("models",), look=False))
            row |= {
                "input": max(shape[0] for shape in facts.inputs.values()),
                "output": max(output["size"] for output in facts.outputs),
                "parameters": facts.parameters,
            }
        except FsError as error:
            row |= {"input": None, "output": None, "parameters": None, "status": str(error)}
        table.append(row)
    _print(table, as_json, ("name", "distribution", "version", "input", "output", "parameters"))
