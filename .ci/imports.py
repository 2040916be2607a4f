"""Check who imports whom: ``lint-imports`` with the contracts of ``pyproject.toml``.

In those contracts the name ``PLUGINS`` stands for every package under ``plugins_builtin`` but the
libraries, which ``root_packages`` lists by name, so that a new plugin is named nowhere twice.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).resolve().parents[1]


def contracts(root: Path) -> dict[str, Any]:
    """Return the settings of import-linter with every ``PLUGINS`` replaced."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    found = sorted(path.parent.name for path in root.glob("plugins_builtin/*/*/__init__.py"))
    plugins = [name for name in found if name not in settings["root_packages"]]
    for place in (settings, *settings["contracts"]):
        for key, names in place.items():
            if isinstance(names, list) and "PLUGINS" in names:
                place[key] = [n for n in names if n != "PLUGINS"] + plugins
    return settings


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
