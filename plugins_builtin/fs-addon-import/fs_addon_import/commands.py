"""``fs import`` and ``fs export``."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click
from fs_kernel.cli import say

PATH = click.Path(path_type=Path)


@click.command("import")
@click.argument("old", type=PATH)
@click.argument("new_dir", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print facts as JSON on stdout.")
def import_command(old: Path, new_dir: Path, as_json: bool) -> None:
    """Adopt the model OLD of another program in the new folder NEW_DIR.

    OLD is a model file of faceswap (.keras, .h5) or the folder that holds one; it is only read.
    """
    from fs_addon_import.importing import import_model

    made = import_model(old, new_dir)
    for note in made.notes:
        say(note)
    if as_json:
        click.echo(json.dumps(attrs.asdict(made)))
        return
    moments = "no optimizer state"
    if made.optimizer:
        moments = f"{made.optimizer} at step {made.optimizer_step}"
    say(
        f"{made.folder} holds {made.model} with {made.parameters:,} parameters after "
        f"{made.iterations} iterations ({moments}); go on with: "
        f"fs run -m {made.folder} -A FACES_A -B FACES_B"
    )


@click.command("export")
@click.argument("model_dir", type=PATH)
@click.argument("out", type=PATH)
@click.option("--to", type=click.Choice(["faceswap3"]), default="faceswap3", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print facts as JSON on stdout.")
def export_command(model_dir: Path, out: Path, to: str, as_json: bool) -> None:
    """Write the model in MODEL_DIR, without its optimizer, into the new folder OUT.

    With faceswap3, the default, that is a .keras file and a state file as faceswap 3 has them.
    """
    from fs_addon_import.exporting import export_model

    made = export_model(model_dir, out)
    if as_json:
        click.echo(json.dumps(attrs.asdict(made)))
    else:
        say(f"wrote {made.model} after {made.iterations} iterations: {', '.join(made.files)}")
