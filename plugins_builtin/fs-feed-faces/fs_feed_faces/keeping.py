"""What ``fs faces cache ls`` says."""

from __future__ import annotations

import time
from typing import Any

from fs_kernel.storage import format_bytes

from fs_feed_faces.cache import Cache, Entry
from fs_feed_faces.remembered import folder_of


def facts_of(cache: Cache) -> dict[str, Any]:
    """The cache as JSON can hold it, its entries in the order in which they would be dropped."""
    entries = [_facts(entry) for entry in cache.entries()]
    return {
        "folder": str(cache.folder),
        "bytes": sum(entry["bytes"] for entry in entries),
        "max_bytes": cache.most,
        "entries": entries,
    }


def describe(facts: dict[str, Any]) -> str:
    """The same as text."""
    lines = [
        f"{format_bytes(entry['bytes']):>8}  {_ago(entry['used'])}  {entry['folder']}  "
        f"{_what(entry)}"
        for entry in facts["entries"]
    ]
    bound = facts["max_bytes"]
    of = f" of at most {format_bytes(bound)}" if bound else ""
    return "\n".join([*lines, f"{facts['folder']}: {format_bytes(facts['bytes'])}{of}"])


def _facts(entry: Entry) -> dict[str, Any]:
    known = {"name": entry.name, "bytes": entry.bytes, "used": entry.used}
    if entry.path.is_file():
        return {**known, "kind": "folder", "folder": folder_of(entry.path)}
    return {
        **known,
        "kind": "crops",
        "folder": entry.facts.get("folder", ""),
        "faces": entry.facts.get("faces", 0),
        "options": entry.facts.get("options", {}),
    }


def _what(entry: dict[str, Any]) -> str:
    if entry["kind"] == "folder":
        return "what was found there"
    options = entry["options"]
    masks = ", ".join(options.get("masks", [])) or "none"
    return (
        f"{entry['faces']} faces of {options.get('size')} px, {options.get('centering')}, "
        f"coverage {options.get('coverage', 0):.1%}, masks: {masks}"
    )


def _ago(used: float) -> str:
    days = (time.time() - used) / 86400
    return "today   " if days < 1 else f"{days:4.0f} d ago"
