"""Make the JSON Schema of a file of options, for editors."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from fs_kernel.options import Interval, OptionInfo, Size, options_of, to_toml_value
from fs_kernel.plugins import discovery

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_INTERVAL = r"^\s*\d+(\.\d+)?\s*(it|its|steps|s|sec|m|min|h|hours|d)?\s*$"
_SIZE = r"^\s*\d+(\.\d+)?\s*([kKmMgGtT][iI]?)?[bB]?\s*$"
_WHEN = {
    "fixed": "Fixed when the model is made.",
    "live": "May be changed during a run.",
    "at start": "May be changed at each start.",
}


def schema(sections: Mapping[str, Sequence[type]], whole: bool) -> dict[str, Any]:
    """Return the schema of a parsed TOML file, with ``[model.original]`` as a nested table.

    Args:
        sections: option classes by section; a section with several fits if one of them fits.
        whole: whether these are the sections of everything installed, so that others are errors.
    """
    root = _table({}, {})
    root["$schema"] = DIALECT
    root["title"] = "Options of fs run"
    for section, classes in sections.items():
        *path, last = section.split(".")
        place = root["properties"]
        for part in path:
            place = place.setdefault(part, _table({}, {}, whole))["properties"]
        variants = [_section(cls) for cls in classes]
        place[last] = variants[0] if len(variants) == 1 else {"anyOf": variants}
    return root


def _table(
    properties: dict[str, Any], extra: dict[str, Any], closed: bool = True
) -> dict[str, Any]:
    return {
        "type": "object",
        **extra,
        "properties": properties,
        **({"additionalProperties": False} if closed else {}),
    }


def _section(cls: type) -> dict[str, Any]:
    default = cls()
    properties = {}
    for name, (annotation, info) in options_of(cls).items():
        properties[name] = {
            "description": f"{info.help} {_WHEN[info.when]}".strip(),
            **_type(annotation, info),
            "default": to_toml_value(getattr(default, name)),
        }
    return _table(properties, {})


def _type(annotation: Any, info: OptionInfo) -> dict[str, Any]:
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        inner = next(a for a in typing.get_args(annotation) if a is not type(None))
        return {"anyOf": [_type(inner, info), {"const": "none"}]}
    if origin is list:
        # A list may also be written as text with commas.
        items = _type(typing.get_args(annotation)[0], info)
        return {"type": ["array", "string"], "items": items}
    if annotation is Interval:
        return {"type": ["integer", "string"], "minimum": 0, "pattern": _INTERVAL}
    if annotation is Size:
        return {"type": ["number", "string"], "minimum": 0, "pattern": _SIZE}
    found: dict[str, Any] = {"type": _TYPES[annotation]} if annotation in _TYPES else {}
    if info.choices:
        found["enum"] = list(info.choices)
    if info.plugin:
        found["examples"] = [item.name for item in discovery.installed(info.plugin)]
    if info.minimum is not None:
        found["minimum"] = info.minimum
    if info.maximum is not None:
        found["maximum"] = info.maximum
    return found
