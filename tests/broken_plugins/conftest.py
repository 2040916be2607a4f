"""Fake distributions of whole, working plugins, to be broken one at a time."""

from __future__ import annotations

import pytest
from fake_packages import Site, forget, quick_collections
from fs_kernel.cli import run_cli
from fs_kernel.storage.checkpoints import Checkpoints

__all__ = ["quick_collections"]

KINDS = {"models": "TinyModel", "trainers": "PlainTrainer", "feeds": "ArrayFeed"}
KINDS |= {"executors": "PlainExecutor"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Installed and whole: model, trainer, feed and executor, all called "tiny"."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = Site(folder)
    for kind, name in KINDS.items():
        made.install(f"fs-good-{kind}", {kind: {"tiny": f"fs_kernel.testing:{name}"}})
    yield made
    forget(folder)


@pytest.fixture
def fs(site, tmp_path, capsys, monkeypatch):
    """Runs ``fs run`` to a total of steps in ``tmp_path/model``; gives ``(exit code, stderr)``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for side in "ab":
        (tmp_path / side).mkdir()

    def run(steps=3, *arguments, addons="", **plugins):
        names = {"trainer": "tiny", "feed": "tiny", "executor": "tiny"} | plugins
        model = names.pop("model", "tiny")
        settings = {f"training.{key}": value for key, value in names.items()}
        settings |= {"training.device": "cpu", "training.seed": 1, "training.batch_size": 2}
        settings |= {"training.addons": f"[{addons}]", "save.interval": 2}
        code = run_cli(
            [
                *("run", "-m", str(tmp_path / "model"), "-t", model, "-i", str(steps)),
                *("-A", str(tmp_path / "a"), "-B", str(tmp_path / "b")),
                *(part for k, v in settings.items() for part in ("--set", f"{k}={v}")),
                *arguments,
            ]
        )
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def steps_held(tmp_path):
    """The step of the checkpoint that counts; every checkpoint there must be whole."""

    def held():
        checkpoints = Checkpoints(tmp_path / "model")
        if not checkpoints.exists():
            return 0
        found = [checkpoints.validation_error(made.name) for made in checkpoints.checkpoints()]
        assert set(found) == {None}
        return checkpoints.read_state(checkpoints.latest_valid(pytest.fail))["iterations"]

    return held
