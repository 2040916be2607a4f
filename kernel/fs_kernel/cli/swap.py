"""``fs swap``: use a trained model."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from fs_kernel.cli import say

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("model_dir", type=PATH)
@click.argument("faces", type=PATH)
@click.argument("output", type=PATH)
@click.option("--direction", default="a2b", show_default=True, help="a2b puts B's face on A.")
@click.option("-t", "--model", help="Model plugin, where it is a local file.")
@click.option("-b", "--batch-size", default=16, show_default=True, type=click.IntRange(1, 1024))
@click.option("--average", is_flag=True, help="With the running average of the weights.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.OPTION=VALUE", help="An option.")
@click.option("--json", "as_json", is_flag=True, help="Print facts as JSON on stdout.")
def swap(
    model_dir: Path,
    faces: Path,
    output: Path,
    direction: str,
    model: str | None,
    batch_size: int,
    average: bool,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Swap the aligned FACES of a folder with the model in MODEL_DIR, into OUTPUT.

    The results are PNGs with the faces' own headers, marked as synthetic.
    """
    from fs_kernel.options import assignments
    from fs_kernel.swap import TrainedModel, collected_warnings, parse_direction

    parse_direction(direction)
    trained = TrainedModel(model_dir, assignments(settings), model, average=average)
    for line in trained.warnings:
        say(line)
    start = time.perf_counter()
    count = collected_warnings(
        lambda: trained.swap_folder(faces, output, direction, batch_size), say
    )
    seconds = time.perf_counter() - start
    if as_json:
        facts = {"faces": count, "seconds": seconds, "direction": direction, "output": str(output)}
        click.echo(json.dumps(facts))
    else:
        say(f"{count} faces swapped {direction} into {output} ({count / seconds:.1f} a second)")
