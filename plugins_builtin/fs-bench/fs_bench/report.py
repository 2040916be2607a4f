"""Format the results as tables for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from fs_bench.counting import Work
from fs_bench.timing import Figure

FIGURES = ("", "median", "from", "to", "unit", "")
ROOFLINES = (
    "network",
    "batch",
    "TFLOP per step",
    "GB weights",
    "GB activations",
    "GB optimizer",
    "FLOP per byte",
    "s, products",
    "s, memory",
    "GFLOP per swapped face",
)

#: Width in columns without a terminal.
_WIDTH = 160


def figure_rows(figures: Iterable[Figure]) -> list[list[str]]:
    """Return one row per figure."""
    return [
        [
            figure.title,
            number(figure.median),
            number(min(figure.values)),
            number(max(figure.values)),
            figure.unit,
            remarks(figure.facts),
        ]
        for figure in figures
    ]


def remarks(facts: Mapping[str, Any]) -> str:
    """Return the facts of a figure in words, separated by commas."""
    words = {
        "images_per_second": "{:.3g} images/s",
        "share_of_bound": "{:.0%} of the bound",
        "peak_bytes": "{:.3g} bytes more in a step",
        "bytes": "{:.3g} bytes",
        "percent_of_step": "{:.2g} % of a step",
        "percent_in_the_first_ten_minutes": "{:.2g} % of the first ten minutes",
        "percent_afterwards": "then {:.2g} %",
        "percent_of_a_day": "{:.2g} % of a day",
        "beyond_import_and_step": "{:.2f} s beyond import keras and a step",
        "images_per_second_per_processor": "{:.3g} per processor",
    }
    return ", ".join(
        text.format(facts[key]) for key, text in words.items() if facts.get(key) is not None
    )


def roofline_rows(
    works: Mapping[str, Work], batch: int, conv: float | None, copy: float | None
) -> list[list[str]]:
    """Return one row per network.

    Args:
        works: by network.
        batch: faces per side.
        conv: GFLOP/s of convolutions, if measured.
        copy: GB/s of memory, if measured.
    """
    rows = []
    for name, work in works.items():
        flops, size = work.flops(batch), work.step_bytes(batch)
        rows.append(
            [
                name,
                str(batch),
                number(flops / 1e12),
                number(work.weight_bytes / 1e9),
                number(work.activation_bytes(batch) / 1e9),
                number(work.optimizer_bytes / 1e9),
                number(flops / size),
                number(flops / 1e9 / conv) if conv else "",
                number(size / 1e9 / copy) if copy else "",
                number(work.swap / 1e9),
            ]
        )
    return rows


def number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def as_text(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on the terminal."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i in (0, len(head) - 1) else "right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(table)


def as_markdown(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"**{title}**", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])
