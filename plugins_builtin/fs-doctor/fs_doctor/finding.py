"""The result of one check of a machine, as one line."""

from __future__ import annotations

from typing import Any, Literal

import attrs

Status = Literal["ok", "warning", "problem"]


@attrs.frozen
class Finding:
    """One line of the report.

    Attributes:
        name: the part that was checked.
        status: "ok", "warning", or "problem" if training is impossible with it.
        found: the present state.
        advice: what to do about it; empty if nothing.
        exit_code: the command's exit code if it is a problem; see `fs_kernel.errors`.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
    exit_code: int = 6

    def line(self) -> str:
        """Return the finding as text."""
        words = f"{self.status:8} {self.name:9} {self.found}"
        return f"{words}; {self.advice}" if self.advice else words

    def facts(self) -> dict[str, Any]:
        """Return the finding for ``--json``."""
        return attrs.asdict(self, filter=attrs.filters.exclude("exit_code"))


def ok(name: str, found: str) -> Finding:
    """Return a finding with nothing to do."""
    return Finding(name, "ok", found)


def warning(name: str, found: str, advice: str) -> Finding:
    """Return a finding with which training is possible, but impaired."""
    return Finding(name, "warning", found, advice)


def problem(name: str, found: str, advice: str, exit_code: int = 6) -> Finding:
    """Return a finding with which training is impossible."""
    return Finding(name, "problem", found, advice, exit_code)
