"""Report what is in the cache, for ``fs faces cache ls``."""

from __future__ import annotations

import time
from typing import Any

from fs_kernel.storage import format_bytes

from fs_feed_faces.cache import Cache, Entry
from fs_feed_faces.scan_cache import scanned_folder


def to_dict(cache: Cache) -> dict[str, Any]:
    """Return the cache in JSON types, its entries in the order of their removal."""
    entries = [_entry(entry) for entry in cache.entries()]
    return {
        "folder": str(cache.folder),
        "bytes": sum(entry["bytes"] for entry in entries),
        "max_bytes": cache.most,
        "entries": entries,
    }


def to_text(report: dict[str, Any]) -> str:
    """Return the report of `to_dict` as lines of text."""
    lines = [
        f"{format_bytes(e['bytes']):>8}  {_ago(e['used'])}  {e['folder']}  {_what(e)}"
        for e in report["entries"]
    ]
    bound = report["max_bytes"]
    of = f" of at most {format_bytes(bound)}" if bound else ""
    return "\n".join([*lines, f"{report['folder']}: {format_bytes(report['bytes'])}{of}"])


def _entry(entry: Entry) -> dict[str, Any]:
    known = {"name": entry.name, "bytes": entry.bytes, "used": entry.used}
    if entry.path.is_file():
        return {**known, "kind": "folder", "folder": scanned_folder(entry.path)}
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
