"""What the kit reads off a plugin: the tests it waives, and hooks whose mark is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fs_kernel.errors import PluginError
from fs_kernel.hookspecs import PROJECT, CommonHooks


def waivers(plugin: Any) -> dict[str, str]:
    """Return the tests of `fs_kernel.testing.suites` that a plugin waives, with the reasons.

    Raises:
        PluginError: its ``WAIVED`` is not a dict of texts.
    """
    given = getattr(plugin, "WAIVED", {})
    if not isinstance(given, Mapping) or not all(
        isinstance(text, str) for item in given.items() for text in item
    ):
        raise PluginError('WAIVED must be a dict: {"test_name": "reason"}')
    return dict(given)


def unmarked_hooks(plugin: Any, specs: type) -> list[str]:
    """Return functions of a plugin that are named like a hook but lack ``@hookimpl``."""
    names = {name for specs in (specs, CommonHooks) for name in vars(specs) if name[0] != "_"}
    found = []
    for name in sorted(names):
        function = getattr(plugin, name, None)
        home = getattr(function, "__module__", None)
        own = getattr(plugin, "__name__", None) or type(plugin).__module__
        if callable(function) and home == own and not hasattr(function, f"{PROJECT}_impl"):
            found.append(name)
    return found
