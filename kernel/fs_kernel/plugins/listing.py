"""What is installed, as rows for people and programs to read."""

from __future__ import annotations

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
    twice = discovery.duplicates(found)
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
