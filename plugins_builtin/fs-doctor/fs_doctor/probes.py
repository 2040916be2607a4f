"""Read facts of a machine. All that the checks know of it comes from here."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import psutil

from fs_doctor.libraries import LIBRARIES
from fs_doctor.listing import rows

#: Seconds to import torch and Keras, even from a slow disk; longer counts as a hang.
SECONDS = 180.0


@attrs.frozen
class Ran:
    """The result of a command.

    Attributes:
        code: its exit status, negative for a signal; None if it timed out.
        output: its stdout.
        last_line: the last line of its stderr.
    """

    code: int | None
    output: str
    last_line: str


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> tuple[int, int]:
    found = psutil.virtual_memory()
    return found.total, found.available


@attrs.frozen
class Probes:
    """The machine as it is; each field can be replaced.

    Attributes:
        environ: environment variables.
        root: where ``proc`` and ``sys`` are looked for.
        system: "Linux", "Windows" or "Darwin".
        python: the interpreter that imports the libraries.
        seconds: how long a command may take.
        memory: bytes of main memory, in all and available.
        processors: how many this process may use.
        disk_free: bytes free where a folder lies.
        is_terminal: returns whether stderr is a terminal.
        plugins: what is installed, as ``fs plugins list --json`` has it.
    """

    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ)
    root: Path = Path("/")
    system: str = attrs.field(factory=platform.system)
    python: str = sys.executable
    seconds: float = SECONDS
    memory: Callable[[], tuple[int, int]] = _memory
    processors: Callable[[], int] = _usable_processors
    disk_free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    is_terminal: Callable[[], bool] = lambda: sys.stderr is not None and sys.stderr.isatty()
    plugins: Callable[[], list[dict[str, Any]]] = rows

    def run(self, program: str, *arguments: str, **environ: str) -> Ran | None:
        """Run a command and return its result.

        Args:
            program: a path, or a name looked for in ``PATH``.
            arguments: its arguments.
            environ: variables set in addition to the others.

        Returns:
            The result; None if there is no such program.
        """
        path = shutil.which(program, path=self.environ.get("PATH"))
        if path is None:
            return None
        try:
            done = subprocess.run(
                [path, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.seconds,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as late:
            output = late.stdout or b""
            text = output.decode(errors="replace") if isinstance(output, bytes) else output
            return Ran(None, text, "")
        except OSError as error:
            return Ran(126, "", str(error))
        lines = done.stderr.strip().splitlines()
        return Ran(done.returncode, done.stdout, lines[-1] if lines else "")

    def read(self, path: str) -> str | None:
        """Return the text of a file below ``root``; None if it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def libraries(self) -> dict[str, dict[str, Any]]:
        """Return the report of `fs_doctor.libraries`, which runs in a subprocess.

        Returns:
            Facts by library: "torch", "keras", "opencv". One that cannot be imported has "error",
            and so has one whose import ended the process or did not end.
        """
        found: dict[str, dict[str, Any]] = {}
        while missing := [name for name in LIBRARIES if name not in found]:
            command = ("-P", "-m", "fs_doctor.libraries", *missing)
            ran = self.run(self.python, *command, KERAS_BACKEND="torch")
            if ran is None:
                return {name: {"error": f"{self.python} cannot be run"} for name in LIBRARIES}
            for line in ran.output.splitlines():
                name, tab, facts = line.partition("\t")
                if tab and name in LIBRARIES:
                    found[name] = json.loads(facts)
            died_at = next((name for name in missing if name not in found), None)
            if died_at is not None:
                end = f"no answer within {self.seconds:.0f} s"
                if ran.code is not None:
                    end = f"its import ended the process (exit status {ran.code}) {ran.last_line}"
                found[died_at] = {"error": end.strip()}
        return found
