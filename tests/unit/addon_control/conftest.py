"""A session that listens, in this process."""

from __future__ import annotations

import pytest
from fake_session import FakeSession, metrics
from fs_addon_control import SECTION, Control, ControlOptions
from fs_kernel.options.defaults import TrainingOptions
from fs_kernel.storage.lock import FolderLock
from fs_kernel.types import Finished


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A listening session of ``tmp_path/model``; ``session.control`` is its observer."""
    monkeypatch.setattr("fs_addon_control._PAUSE", 0.02)
    monkeypatch.setattr("fs_addon_control.command._PAUSE", 0.02)
    folder = tmp_path / "model"
    folder.mkdir()
    lock = FolderLock(folder)
    run = FakeSession(folder, SECTION, ControlOptions(), 7, training=TrainingOptions())
    run.control = Control(run)
    run.control.on_start(run.info)
    run.control.on_metrics(metrics(7, 5e-5, a=0.25, b=0.125))
    run.lock = lock
    yield run
    run.control.on_finish(Finished("stopped", 7, 1.0))
    lock.release()
