"""Open a training run in a temporary workspace."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from fs_kernel.training import Request, TrainingRun, resolve_run


@contextmanager
def trial_run(request: Request) -> Iterator[TrainingRun]:
    """Open the run that was asked for, without add-ons, in a workspace that is deleted afterwards.

    The model folder is only read: its lock is not taken, and its disk need not have room.

    Raises:
        FsError: what opening the run itself would raise.
    """
    with tempfile.TemporaryDirectory(prefix="fs-dry-run-") as workspace:
        resolved = resolve_run(attrs.evolve(request, workspace=Path(workspace)))
        # Add-ons do not run, but their options are checked and shown, so they are resolved first.
        plugins = resolved.plugins
        plugins.all = [plugin for plugin in plugins.all if plugin.kind != "addons"]
        run = TrainingRun(resolved)
        try:
            yield run
        finally:
            run.close(save=False)
