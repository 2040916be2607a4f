"""Let a package export names whose modules are imported when a name is first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_exports(package: str, names: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that imports its modules on demand.

    Type checkers do not see these names: import them under ``if TYPE_CHECKING`` too, and assign
    ``__getattr__`` in the ``else`` branch, so that a misspelled name stays an error.

    Args:
        package: the package's ``__name__``.
        names: ``{module: names}`` it exports; modules relative to the package.
    """
    module_of = {name: module for module, exported in names.items() for name in exported}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        # The next access finds it without coming here.
        setattr(sys.modules[package], name, value)
        return value

    return get
