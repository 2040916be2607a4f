"""``fs bench``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from fs_kernel.cli import say

PARTS = ("machine", "networks", "steps", "swap", "feed", "save", "start", "watch")


@click.command()
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or auto.")
@click.option("-t", "--model", "models", multiple=True, help="Network to take steps with.")
@click.option("-b", "--batch-size", "batches", multiple=True, type=click.IntRange(1, 1024))
@click.option("--executor", "executors", multiple=True, help="Executor; the plain one first.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Number format (default: fp32 on a CPU, all on a GPU).",
)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only this.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Runs of each figure.")
@click.option("--quick", is_flag=True, help="Small sizes, few runs: about a minute.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Tables.")
def bench(json_path: Path | None, markdown: Path | None, **given: Any) -> None:
    """Measure this machine: what it does, beside what it could do.

    Medians and spread of everything, taken in turn, so that a busy machine slows all alike; what
    each figure means stands in docs/performance.md. Without options the whole of it, in about a
    quarter of an hour on two cores.
    """
    from fs_bench import report
    from fs_bench.session import measure_all

    start = time.monotonic()
    for path in (json_path, markdown):
        if path is not None:
            path.touch()
    found = measure_all(given, say)
    tables = found.tables()
    for table in tables:
        report.as_text(*table)
    for line in found.skipped:
        say(f"skipped: {line}")
    say(f"{(time.monotonic() - start) / 60:.1f} minutes")
    if json_path is not None:
        json_path.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    if markdown is not None:
        markdown.write_text("\n".join(report.as_markdown(*table) for table in tables))
