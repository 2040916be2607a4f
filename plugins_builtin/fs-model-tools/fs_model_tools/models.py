"""``fs models``: the installed networks."""

from __future__ import annotations

import json
from pathlib import Path

import click
from fs_kernel.cli import table
from fs_kernel.plugins.listing import rows

COLUMNS = ("name", "distribution", "version", "input", "output", "parameters")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def models(as_json: bool) -> None:
    """List the installed networks with their sizes, at default options."""
    from fs_kernel.errors import FsError
    from fs_kernel.training.resolve import Request, resolve_run

    from fs_model_tools.summary import summarize

    found = rows("models")
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
        click.echo(table(found, COLUMNS))
    else:
        click.echo("no model is installed; to begin: pip install fs-model-original")
