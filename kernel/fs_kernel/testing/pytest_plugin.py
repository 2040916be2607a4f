"""Fixtures for tests of plugins, there in every test session once fs-kernel is installed.

Nothing is imported until a test asks for a fixture, so other projects' tests pay nothing.

=============== =================================================================================
`fs_faces`      synthetic faces as arrays
`fs_run`        tiny runs, closed at the end of the test
`fs_plugin`     one plugin behind its typed calls, in a test where nothing counts as installed
=============== =================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import numpy as np

    from fs_kernel.training.loop import TrainingRun

pytest.register_assert_rewrite("fs_kernel.testing.suites")


@pytest.fixture
def fs_faces() -> Callable[..., np.ndarray]:
    """``fs_faces(count=4, size=16, side="a", seed=0)``: ``(count, size, size, 3)`` float32 0..1."""
    from fs_kernel.testing.arrays import array_faces

    def faces(count: int = 4, size: int = 16, *, side: str = "a", seed: int = 0) -> np.ndarray:
        return array_faces(count, size, side=side, seed=seed)

    return faces


@pytest.fixture
def fs_run(tmp_path: Path) -> Iterator[Callable[..., TrainingRun]]:
    """``fs_run(model=..., set={...})``: a run of tiny parts, but for what is given.

    It is `fs_kernel.testing.tiny_run` in the test's own folder; runs left open are closed, without
    a save.
    """
    from fs_kernel.testing.runs import tiny_run

    opened: list[TrainingRun] = []

    def run(**arguments: Any) -> TrainingRun:
        opened.append(tiny_run(tmp_path, **arguments))
        return opened[-1]

    yield run
    for item in opened:
        item.close(save=False)


@pytest.fixture
def fs_plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``fs_plugin("models", plugin, {"model.mine.width": 8})``: one plugin behind its typed calls.

    What is installed on this machine is not to be seen: looking for it fails the test, so that a
    test cannot pass only because of a package that happens to be there.
    """
    from fs_kernel.plugins import discovery
    from fs_kernel.testing.parts import make_plugin

    def refuse(kind: str | None = None) -> list[Any]:
        raise AssertionError("this test has no installed plugins; hand in the object itself")

    monkeypatch.setattr(discovery, "installed", refuse)
    return make_plugin
