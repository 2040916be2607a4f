"""Let a package export names whose modules are imported when a name is first used (PEP 562)."""

from __future__ import annotations

import ast
import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazy_exports(package: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that exports what its ``__init__.pyi`` does.

    The stub has a line ``from package.module import name as name`` for each name. Type checkers
    read the same lines, so a misspelled name is an error. ``__all__`` is made from them too. A
    module of the package must not have the name of an export: it would take its place.

    Args:
        package: the package's ``__name__``.
    """
    module = sys.modules[package]

    @functools.cache
    def module_of() -> dict[str, str]:
        stub = Path(str(module.__file__)).with_suffix(".pyi").read_text(encoding="utf-8")
        lines = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
        return {alias.name: str(line.module) for line in lines for alias in line.names}

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted(module_of())
        if name not in module_of():
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(importlib.import_module(module_of()[name]), name)
        # The next access finds it without coming here.
        setattr(module, name, value)
        return value

    return get
