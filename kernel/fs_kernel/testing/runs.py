"""Tiny runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_kernel.testing.plugins import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel

if TYPE_CHECKING:
    from fs_kernel.training.loop import TrainingRun


def tiny_run(folder: Path, **arguments: Any) -> TrainingRun:
    """Open a run of the tiny plugins in ``folder/model``.

    Args:
        folder: an existing folder; ``a`` and ``b`` are made in it.
        arguments: of `fs_kernel.open_run`, in place of the tiny defaults.
    """
    from fs_kernel.run import open_run

    for side in ("a", "b"):
        (folder / side).mkdir(exist_ok=True)
    values = {"training.device": "cpu", "training.seed": 1, "training.batch_size": 4}
    given: dict[str, Any] = {
        "model": TinyModel(),
        "trainer": PlainTrainer(),
        "feed": ArrayFeed(),
        "executor": PlainExecutor(),
        "addons": [],
        "a": folder / "a",
        "b": folder / "b",
    }
    values |= arguments.pop("set", {})
    return open_run(folder / "model", **(given | {"set": values} | arguments))
