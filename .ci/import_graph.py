"""Which module imports which, and how high that piles them up."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


def imports(tree: ast.Module, module: str, package: bool) -> Iterator[tuple[str, str | None]]:
    """Yield each imported module, and the name that is taken from it or None.

    Imports inside functions and below ``TYPE_CHECKING`` count: they are arrows all the same.

    Args:
        tree: the file.
        module: its name.
        package: whether it is the ``__init__`` of a package.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                up = parts[: len(parts) - node.level + package]
                base = ".".join([*up, *filter(None, [base])])
            for alias in node.names:
                yield base, alias.name


def arrows(files: Mapping[str, Path]) -> set[tuple[str, str]]:
    """Return which module imports which, each pair once; what a stub exports counts."""
    found = set()
    for module, path in files.items():
        stub = path.with_suffix(".pyi")
        both = [each.read_text(encoding="utf-8") for each in (path, stub) if each.exists()]
        tree = ast.parse("\n".join(both))
        for base, name in imports(tree, module, path.name == "__init__.py"):
            target = f"{base}.{name}" if name and f"{base}.{name}" in files else base
            if target in files and target != module:
                found.add((module, target))
    return found


def circles(modules: Iterable[str], pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of modules that import one another, each sorted."""
    below: dict[str, set[str]] = {module: set() for module in modules}
    for one, other in pairs:
        below[one].add(other)
    reached = {module: _reach(module, below) for module in below}
    groups = {
        tuple(sorted({m} | {o for o in reached[m] if m in reached[o]}))
        for m in below
        if m in reached[m]
    }
    return [list(group) for group in sorted(groups)]


def _reach(start: str, below: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(below[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += below[module]
    return seen


def floors(modules: Iterable[str], pairs: set[tuple[str, str]]) -> list[str]:
    """Return the longest chain of imports, top first; a circle stands on one floor."""
    known = sorted(modules)
    label = {module: module for module in known}
    for group in circles(known, pairs):
        label |= dict.fromkeys(group, " + ".join(group))
    below: dict[str, set[str]] = {label[module]: set() for module in known}
    for one, other in pairs:
        if label[one] != label[other]:
            below[label[one]].add(label[other])
    longest: dict[str, list[str]] = {}

    def chain(module: str) -> list[str]:
        if module not in longest:
            chains = [chain(other) for other in sorted(below[module])]
            longest[module] = [module, *max(chains, key=len, default=[])]
        return longest[module]

    return max((chain(module) for module in below), key=len, default=[])
