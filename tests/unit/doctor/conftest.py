"""Machines to be looked at: a folder for the system's files, and programs that answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fs_doctor.probes import Probes

ROWS = [
    {"name": kind, "kind": kind, "distribution": f"fs-{kind}", "status": "ok"}
    for kind in ("model", "trainer", "feed", "executor", "add-on")
]


class Machine:
    """A machine of files: ``root`` of the system, ``bin`` of programs, ``lib`` of libraries."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.lib = folder / "root", folder / "bin", folder / "lib"
        for path in (self.root, self.bin, self.lib):
            path.mkdir()

    def file(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n")

    def program(self, name: str, body: str) -> None:
        """A program in Python."""
        path = self.bin / name
        path.write_text(f"#!{sys.executable}\n{body}\n")
        path.chmod(0o755)

    def library(self, name: str, body: str) -> None:
        """A module that is found before the one that is installed."""
        (self.lib / f"{name}.py").write_text(body)

    def probes(self, environ=None, **fields) -> Probes:
        given = {"PATH": str(self.bin), "PYTHONPATH": str(self.lib), **(environ or {})}
        usual = {
            "environ": {**given, "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")},
            "root": self.root,
            "system": "Linux",
            "memory": lambda: (32 * 10**9, 24 * 10**9),
            "processors": lambda: 8,
            "disk_free": lambda path: 200 * 10**9,
            "is_terminal": lambda: True,
            "plugins": lambda: ROWS,
            "seconds": 60.0,
        }
        return Probes(**(usual | fields))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)
