"""Folders of small face files, and the options a feed is opened with."""

from __future__ import annotations

from pathlib import Path

import pytest
from face_files import fill


@pytest.fixture(scope="session")
def two_sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """26 and 27 faces. Not to be changed: copy first."""
    root = tmp_path_factory.mktemp("faces")
    return {"a": fill(root / "A", 26), "b": fill(root / "B", 27, start=500)}
