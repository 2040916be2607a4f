"""Shared by the kernel's tests: events of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from fake_packages import quick_collections

__all__ = ["quick_collections"]

settings.register_profile("kernel", derandomize=True, database=None, deadline=None)
settings.load_profile("kernel")


@pytest.fixture
def events():
    """Reads the events of the run in a folder: ``events(folder, "saved")``."""

    def read(folder: Path, kind: str | None = None) -> list[dict]:
        lines = (folder / "model/logs/events.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        return [e for e in found if kind is None or e["event"] == kind]

    return read
