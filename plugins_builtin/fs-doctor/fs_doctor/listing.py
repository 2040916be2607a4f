"""List the installed plugins as rows for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fs_kernel.hookspecs import API_VERSION
from fs_kernel.plugins import discovery


def rows(kind: str | None = None) -> list[dict[str, Any]]:
    """Return one row per installed plugin, of one kind or of all; nothing is imported.

    Returns:
        Dicts with "name", "kind" (as a word), "distribution", "version", "editable", "api" and
        "status": "ok", "duplicate name", "too new" or "too old".
    """
    found = discovery.installed(kind)
    twice = duplicates(found)
    return [
        {
            "name": item.name,
            "kind": discovery.word_for(item.kind),
            "distribution": item.distribution,
            "version": item.version,
            "editable": item.editable,
            "api": item.api,
            "status": _status(item, (item.kind, item.name) in twice),
        }
        for item in found
    ]


def _status(item: discovery.InstalledPlugin, duplicate: bool) -> str:
    if duplicate:
        return "duplicate name"
    if item.api is not None and item.api != API_VERSION:
        return "too new" if item.api > API_VERSION else "too old"
    return "ok"


def duplicates(
    found: Iterable[discovery.InstalledPlugin],
) -> dict[tuple[str, str], Sequence[discovery.InstalledPlugin]]:
    """Return the plugins whose names several distributions claim, by (kind, name)."""
    groups: dict[tuple[str, str], list[discovery.InstalledPlugin]] = {}
    for item in found:
        groups.setdefault((item.kind, item.name), []).append(item)
    return {key: items for key, items in groups.items() if len(items) > 1}


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as text: a line of headings, then one line each, columns aligned."""
    cells = [list(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
