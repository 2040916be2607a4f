"""Shared by all unit tests."""

from __future__ import annotations

import pytest
from fake_packages import Site, forget


@pytest.fixture
def fs(capsys, monkeypatch, tmp_path):
    """Runs the program: ``(exit code, stdout, stderr)``; stderr never holds a traceback."""
    from fs_kernel.cli import run_cli

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def call(*arguments):
        code = run_cli([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on ``sys.path`` to put fake distributions in; forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield Site(folder)
    forget(folder)
