"""Implement ``fs models``: list the installed networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from fs_kernel.plugins import discovery

COLUMNS = ("name", "distribution", "version", "input", "output", "parameters")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def models(as_json: bool) -> None:
    """List the installed networks with their sizes, at default options."""
    from fs_kernel.errors import FsError
    from fs_kernel.training import Request, resolve_run

    from fs_model_tools.summary import summarize

    found = [_row(item) for item in discovery.installed("models")]
    for row in found:
        try:
            facts = summarize(resolve_run(Request(Path(), row["name"]), ("models",), look=False))
            row |= {
                "input": max(shape[0] for shape in facts.inputs.values()),
                "output": max(output["size"] for output in facts.outputs),
                "parameters": facts.parameters,
            }
        except FsError as error:
            row |= {"input": None, "output": None, "parameters": None, "status": str(error)}
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif found:
        click.echo(_table(found))
    else:
        click.echo("no model is installed; to begin: pip install fs-model-original")


def _row(item: discovery.InstalledPlugin) -> dict[str, Any]:
    return {
        "name": item.name,
        "kind": discovery.word_for(item.kind),
        "distribution": item.distribution,
        "version": item.version,
        "editable": item.editable,
        "api": item.api,
        "status": "ok",
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as text: a line of headings, then one line each, columns aligned."""
    values = [[row[name] for name in COLUMNS] for row in rows]
    cells = [list(COLUMNS), *(["-" if v is None else str(v) for v in line] for line in values)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
