"""Read presets: one TOML file each, with the options that differ from the defaults."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def names() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(name[:-5] for name in files if name.endswith(".toml")))


@cache
def values(name: str) -> dict[str, Any]:
    """Return the values that a preset sets, by option; {} for "none"."""
    if name == "none":
        return {}
    return tomllib.loads(resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8"))
