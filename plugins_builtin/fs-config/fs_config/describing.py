"""Describe options for people and programs."""

from __future__ import annotations

import json
from typing import Any

import attrs
from fs_kernel.options import OptionInfo


def option_facts(name: str, annotation: Any, info: OptionInfo) -> dict[str, Any]:
    """Return the facts of an option, as JSON can hold them.

    Returns:
        ``name``, ``type``, ``help``, ``minimum``, ``maximum``, ``choices``, ``fixed``, ``live`` and
        ``plugin``, the kind of plugin that the option names; None where there is none.
    """
    told = attrs.asdict(
        info, filter=attrs.filters.exclude("formerly", "formerly_values", "machine_local")
    )
    return {"name": name, "type": getattr(annotation, "__name__", str(annotation)), **told}


def option_line(facts: dict[str, Any], value: Any) -> str:
    """Return an option with a value as one line: ``power = 3   [1 .. 9; live]``."""
    limits = ""
    if facts["choices"]:
        limits = " | ".join(map(str, facts["choices"]))
    elif facts["minimum"] is not None:
        limits = f"{facts['minimum']:g} .. {facts['maximum']:g}"
    when = "fixed" if facts["fixed"] else "live" if facts["live"] else ""
    notes = "; ".join(filter(None, [limits, when]))
    return f"{facts['name']} = {json.dumps(value)}" + (f"   [{notes}]" if notes else "")
