"""Implement ``fs swap``: use a trained model."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from fs_kernel.cli import say

PATH = click.Path(path_type=Path)
_Result = TypeVar("_Result")


@click.command()
@click.argument("model_dir", type=PATH)
@click.argument("faces", type=PATH)
@click.argument("output", type=PATH)
@click.option("--direction", default="a2b", show_default=True, help="a2b puts B's face on A.")
@click.option("-t", "--model", help="Model plugin, where it is a local file.")
@click.option("-b", "--batch-size", default=16, show_default=True, type=click.IntRange(1, 1024))
@click.option("--average", is_flag=True, help="With the running average of the weights.")
@click.option("--filter", "filters", multiple=True, metavar="NAME", help="Filter of the results.")
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
    filters: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Swap the aligned FACES of a folder with the model in MODEL_DIR, into OUTPUT.

    The results are PNGs with the faces' own headers, marked as synthetic. Each --filter changes
    them before they are written, in the order given.
    """
    from fs_kernel import TrainedModel
    from fs_kernel.options import assignments

    from fs_swap.filters import Filters
    from fs_swap.folder import parse_direction, swap_folder

    parse_direction(direction)
    values = assignments(settings)
    chosen = Filters(filters, values)
    values = {section: v for section, v in values.items() if section not in chosen.sections}
    trained = TrainedModel(model_dir, values, model, average=average)
    for line in trained.warnings:
        say(line)
    start = time.perf_counter()
    count = collected_warnings(
        lambda: swap_folder(trained, faces, output, direction, batch_size, filters=chosen), say
    )
    seconds = time.perf_counter() - start
    if as_json:
        facts = {"faces": count, "seconds": seconds, "direction": direction, "output": str(output)}
        click.echo(json.dumps(facts))
    else:
        say(f"{count} faces swapped {direction} into {output} ({count / seconds:.1f} a second)")


def collected_warnings(call: Callable[[], _Result], tell: Callable[[str], None]) -> _Result:
    """Return the result of ``call``, and pass its warnings to ``tell``, one line each."""
    from fs_kernel import backend

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        backend.silence_input_structure_warning()
        result = call()
    for item in caught:
        tell(str(item.message))
    return result
