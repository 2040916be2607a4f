"""Print the figures of the house: how large the kernel is, and how its modules hang together.

``python .ci/house.py`` prints them, ``--json`` as JSON. With ``--check`` it exits with 1 if the
kernel without its testing kit has more code than it may, or one of its files is too long. Code
lines are lines that hold a token; docstrings, comments and blank lines do not count.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from import_graph import arrows, circles, floors, imports

ROOT = Path(__file__).resolve().parents[1]
#: Lines of code that the kernel may have, without the testing kit.
MOST_CODE = 4000
#: Lines that a file may have, docstrings, comments and blanks included.
MOST_LINES = 300
#: The contract: mostly docstrings, and one file so that it is read in one go.
LONG_FILES = ("hookspecs.py",)
#: Modules whose names cross the hooks; they are the contract without being named in its page.
HOOK_VALUES = {"fs_kernel.hookspecs", "fs_kernel.types"}
#: Where the loop may stand, newest first.
LOOPS = ("training/loop.py", "engine.py")
_SKIPPED = ("COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER")


def code_lines(source: str) -> int:
    """Return how many lines hold code: no docstring, no comment, not blank."""
    docs: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and ast.get_docstring(node, clean=False) is not None:
                docs |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if tokenize.tok_name[token.type] not in _SKIPPED:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docs)


def kernel_files(kernel: Path) -> dict[str, Path]:
    """Return the kernel's files by their module's name, without the testing kit."""
    found = {}
    for path in sorted(kernel.rglob("*.py")):
        parts = path.relative_to(kernel.parent).with_suffix("").parts
        if parts[1] != "testing":
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def class_figures(path: Path, name: str) -> tuple[list[str], list[str]]:
    """Return the attributes and the methods of a class.

    An attribute is what a method binds on ``self``, or what the class body declares; properties
    are methods.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == name)
    methods = [n.name for n in found.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    declared = [n.target for n in found.body if isinstance(n, ast.AnnAssign)]
    attributes = {target.id for target in declared if isinstance(target, ast.Name)}
    for node in ast.walk(found):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            attributes.add(node.attr)
    return sorted(attributes - set(methods)), methods


def promised(root: Path) -> set[str]:
    """Return the modules that ``docs/compatibility.md`` promises to plugins."""
    text = (root / "docs" / "compatibility.md").read_text(encoding="utf-8")
    section = re.search(r"^## What the contract is\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    named = re.findall(r"`(fs_kernel(?:\.\w+)*)`", section[1] if section else text)
    return set(named) | HOOK_VALUES


def public_names(kernel: Path) -> set[str]:
    """Return what ``fs_kernel`` exports, by its stub."""
    stub = ast.parse((kernel / "__init__.pyi").read_text(encoding="utf-8"))
    lines = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name for line in lines for alias in line.names}


def crossings(root: Path, kernel: Path) -> list[str]:
    """Return the import statements of built-in packages that reach behind the contract.

    Returns:
        "package/file.py:line module.name" for each statement.
    """
    modules = {
        ".".join(p.relative_to(kernel.parent).with_suffix("").parts) for p in kernel.rglob("*.py")
    }
    modules |= {module.removesuffix(".__init__") for module in modules}
    allowed, exported = promised(root), public_names(kernel)
    found = []
    for path in sorted((root / "plugins_builtin").rglob("*.py")):
        if "tests" in path.parts or ".venv" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                one = ast.Module([node], [])
                wrong = [
                    f"{base}.{name}" if name else base
                    for base, name in imports(one, "", False)
                    if base.split(".")[0] == "fs_kernel"
                    and not _is_public(base, name, modules, allowed, exported)
                ]
                if wrong:
                    place = path.relative_to(root / "plugins_builtin")
                    found.append(f"{place}:{node.lineno} {', '.join(wrong)}")
    return found


def _is_public(
    base: str, name: str | None, modules: set[str], allowed: set[str], exported: set[str]
) -> bool:
    if name is not None and f"{base}.{name}" in modules:
        base, name = f"{base}.{name}", None
    if name is not None and (name in exported or f"{base}.{name}" in allowed):
        return True
    return base in allowed


def hooks(kernel: Path) -> list[str]:
    """Return the names of all hooks that the kernel specifies."""
    found = []
    for path in sorted(kernel.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                re.search(r"\bhookspec\b", ast.unparse(each)) for each in node.decorator_list
            ):
                found.append(node.name)
    return found


def measure(root: Path, loop: str | None, loop_class: str) -> dict[str, Any]:
    """Return all figures.

    Args:
        root: of the repository.
        loop: file of the loop below the kernel's folder; None for the usual one.
        loop_class: the class of the loop.
    """
    kernel = root / "kernel" / "fs_kernel"
    files = kernel_files(kernel)
    texts = {module: path.read_text(encoding="utf-8") for module, path in files.items()}
    place = {module: path.relative_to(kernel).as_posix() for module, path in files.items()}
    lines = {place[module]: text.count("\n") for module, text in texts.items()}
    pairs = arrows(files)
    # A room is a package or a file right below the kernel's folder.
    room = {module: ".".join(module.split(".")[:2]) for module in files}
    room_pairs = {(room[a], room[b]) for a, b in pairs if room[a] != room[b]}
    chain = floors(files, pairs)
    others = {name: count for name, count in lines.items() if name not in LONG_FILES}
    largest = max(others, key=lambda name: others[name])
    loop = loop or next(name for name in LOOPS if (kernel / name).exists())
    attributes, methods = class_figures(kernel / loop, loop_class)
    across = crossings(root, kernel)
    return {
        "files": len(files),
        "lines": sum(lines.values()),
        "code_lines": sum(map(code_lines, texts.values())),
        "largest_file": [largest, others[largest]],
        "files_above_most_lines": {n: c for n, c in sorted(others.items()) if c > MOST_LINES},
        "floors": len(chain),
        "longest_chain": chain,
        "arrows": len(pairs),
        "circles": circles(files, pairs),
        "rooms": len(set(room.values())),
        "room_floors": len(floors(set(room.values()), room_pairs)),
        "room_arrows": len(room_pairs),
        "room_circles": circles(set(room.values()), room_pairs),
        "loop": f"{loop}:{loop_class}",
        "loop_attributes": len(attributes),
        "loop_methods": len(methods),
        "crossings": len(across),
        "crossing_packages": len({line.partition("/")[0] for line in across}),
        "crossing_lines": across,
        "hooks": len(hooks(kernel)),
    }


def report(found: Mapping[str, Any]) -> str:
    """Return the figures as text."""
    name, longest = found["largest_file"]
    rows = [
        ("files", found["files"]),
        ("lines", found["lines"]),
        ("lines of code", f"{found['code_lines']} (at most {MOST_CODE})"),
        ("largest file", f"{name}, {longest} lines (at most {MOST_LINES}; but {LONG_FILES[0]})"),
        ("import floors", found["floors"]),
        ("import arrows", found["arrows"]),
        ("import circles", len(found["circles"])),
        ("rooms", f"{found['rooms']} (packages, and files beside them)"),
        ("floors of rooms", found["room_floors"]),
        ("arrows of rooms", found["room_arrows"]),
        ("circles of rooms", len(found["room_circles"])),
        ("the loop", found["loop"]),
        ("  attributes", found["loop_attributes"]),
        ("  methods", found["loop_methods"]),
        ("crossings", f"{found['crossings']} in {found['crossing_packages']} built-in packages"),
        ("hooks", found["hooks"]),
    ]
    return "\n".join(["The kernel without its testing kit:", *(f"{a:18}{b}" for a, b in rows)])


def details(found: Mapping[str, Any]) -> str:
    """Return what is behind the figures: the long files, the chain, circles, crossings."""
    parts = [
        (
            "Files above the limit",
            [f"{n}: {c}" for n, c in found["files_above_most_lines"].items()],
        ),
        ("The longest chain of imports", found["longest_chain"]),
        ("Circles", [", ".join(group) for group in found["circles"]]),
        ("Circles of rooms", [", ".join(group) for group in found["room_circles"]]),
        ("Crossings", found["crossing_lines"]),
    ]
    return "\n".join(f"\n{title}:\n" + "\n".join(f"  {x}" for x in rows) for title, rows in parts)


def problems(found: Mapping[str, Any], most_code: int) -> list[str]:
    """Return a line for each limit that does not hold."""
    lines = [
        f"kernel/fs_kernel/{name} has {count} lines; at most {MOST_LINES} are allowed: split it"
        for name, count in found["files_above_most_lines"].items()
    ]
    if found["code_lines"] > most_code:
        lines.append(
            f"the kernel has {found['code_lines']} lines of code; at most {most_code} are allowed: "
            "move what not every run needs into a package"
        )
    return lines


def main() -> int:
    """Read the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    parser.add_argument("--loop", help=f"file of the loop in the kernel ({' or '.join(LOOPS)})")
    parser.add_argument("--loop-class", default="TrainingRun")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is exceeded")
    parser.add_argument("--most", type=int, default=MOST_CODE, help="lines of code allowed")
    parser.add_argument("--details", action="store_true", help="also what is behind the figures")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.root, given.loop, given.loop_class)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        print(report(found) + (details(found) if given.details else ""))
    wrong = problems(found, given.most) if given.check else []
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
