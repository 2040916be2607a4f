"""Finds tests by their id in the source, and what of the source they are made of."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


@functools.cache
def definitions(path: Path) -> dict[str, tuple[str, ast.AST]]:
    """Source and tree of everything a module defines at its top, decorators included, by name."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        text = "\n".join(lines[start - 1 : node.end_lineno])
        for name in _names(node):
            found[name] = text, node
    return found


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return [target.id for target in targets if isinstance(target, ast.Name)]


@functools.cache
def _helpers(path: Path) -> dict[str, Path]:
    """Where else a module's names are defined: fixtures of its folder, helpers it imports."""
    found = {}
    folders = [folder for folder in path.parents if folder.is_relative_to(TESTS)]
    for conftest in (folder / "conftest.py" for folder in reversed(folders)):
        if conftest.exists():
            found |= dict.fromkeys(definitions(conftest), conftest)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            file = f"{node.module}.py"
            for folder in (path.parent, TESTS / "unit", TESTS / "data", TESTS):
                if (folder / file).exists():
                    found |= {alias.asname or alias.name: folder / file for alias in node.names}
                    break
    return found


def source_of(test: str) -> str | None:
    """All the source in the tests that a test is made of: its own, and that of its helpers.

    Args:
        test: "unit/kernel/test_x.py::test_y", below ``tests/``.

    Returns:
        None if there is no such test.
    """
    file, _, name = test.partition("::")
    path = TESTS / file
    if not name.startswith("test_") or not path.is_file() or name not in definitions(path):
        return None
    seen: set[tuple[Path, str]] = set()
    return "\n".join(_gather(path, name, seen))


def _gather(path: Path, name: str, seen: set[tuple[Path, str]]) -> list[str]:
    if (path, name) in seen:
        return []
    seen.add((path, name))
    own, helpers = definitions(path), _helpers(path)
    if name not in own:
        return _gather(helpers[name], name, seen) if name in helpers else []
    text, tree = own[name]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return [text, *(part for other in sorted(used) for part in _gather(path, other, seen))]


def mentions(source: str, option: str) -> bool:
    """Whether an option's name stands in a source as a word."""
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(option)}(?![A-Za-z0-9_])", source) is not None
