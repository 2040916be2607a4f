"""What was found about one part of a machine, as one line."""

from __future__ import annotations

from typing import Any, Literal

import attrs

Status = Literal["ok", "warning", "problem"]


@attrs.frozen
class Finding:
    """One line of the report.

    Attributes:
        name: the part that was looked at.
        status: "problem" if training is impossible with it.
        found: what is there.
        advice: what to do about it; empty if nothing.
        exit_code: what the command ends with if it is a problem; see `fs_kernel.errors`.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
    exit_code: int = 6

    def line(self) -> str:
        """The finding as text."""
        words = f"{self.status:8} {self.name:9} {self.found}"
        return f"{words}; {self.advice}" if self.advice else words

    def facts(self) -> dict[str, Any]:
        """The finding for ``--json``."""
        return attrs.asdict(self, filter=attrs.filters.exclude("exit_code"))


def ok(name: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(name, "ok", found)


def warning(name: str, found: str, advice: str) -> Finding:
    """Training is possible, but not as it could be."""
    return Finding(name, "warning", found, advice)


def problem(name: str, found: str, advice: str, exit_code: int = 6) -> Finding:
    """Training is impossible."""
    return Finding(name, "problem", found, advice, exit_code)
