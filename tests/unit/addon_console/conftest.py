"""A session's facts, and a clock that is moved by hand."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from fs_kernel.types import Metrics, RunInfo


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_info():
    base = RunInfo(
        model_dir=Path("models/[one] person"),
        model="original",
        network_name="original",
        trainer="standard",
        feed="faces",
        executor="keras",
        sides=("a", "b"),
        parameters=69_662_656,
        batch_size=16,
        device="cpu",
        precision="fp32",
        seed=7,
        session=1,
        start_step=0,
        target_steps=10_000,
        face_counts={"a": 150, "b": 1500},
    )
    return lambda **changes: attrs.evolve(base, **changes)


@pytest.fixture
def make_metrics():
    def make(step: int, a: float = 0.1234, b: float = 0.1567, step_seconds: float = 0.5) -> Metrics:
        return Metrics(step, {"a": a, "b": b}, {}, 5e-5, 31.24, step_seconds)

    return make
