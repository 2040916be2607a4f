"""Check who imports whom: ``lint-imports`` with the contracts of ``pyproject.toml``.

Two names in those contracts stand for others, so that what is new is covered without being listed:
``PLUGINS`` for every package under ``plugins_builtin`` but the libraries, which ``root_packages``
lists by name, and ``PRIVATE`` for every module of the kernel that ``docs/compatibility.md`` does
not promise.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from house import promised

ROOT = Path(__file__).resolve().parents[1]


def contracts(root: Path) -> dict[str, Any]:
    """Return the settings of import-linter with ``PLUGINS`` and ``PRIVATE`` replaced."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    found = sorted(path.parent.name for path in root.glob("plugins_builtin/*/*/__init__.py"))
    plugins = [name for name in found if name not in settings["root_packages"]]
    stands_for = {"PLUGINS": plugins, "PRIVATE": private_modules(root)}
    for place in (settings, *settings["contracts"]):
        for key, names in place.items():
            if key.endswith(("modules", "packages")):
                place[key] = [each for name in names for each in stands_for.get(name, [name])]
    return settings


def private_modules(root: Path) -> list[str]:
    """Return the modules of the kernel that are not promised to plugins, sorted."""
    files = (path.relative_to(root / "kernel") for path in root.glob("kernel/fs_kernel/**/*.py"))
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    return sorted(modules - promised(root))


def main() -> int:
    """Run import-linter and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "importlinter.toml"
        path.write_text(tomli_w.dumps({"tool": {"importlinter": contracts(ROOT)}}), "utf-8")
        program = "from importlinter.cli import lint_imports_command as lint; lint()"
        command = [sys.executable, "-c", program, "--config", str(path)]
        return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
