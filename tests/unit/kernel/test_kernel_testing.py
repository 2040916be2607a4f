"""The kit for plugin authors: fixtures, fake run, and the price of having it installed."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from fs_kernel import types
from fs_kernel.errors import ConfigError
from fs_kernel.testing import TinyModel, parts
from fs_kernel.testing.fake_run import FakeRun
from fs_kernel.testing.suites.addons import EVENTS, sample_events


def test_synthetic_faces_are_arrays(fs_faces):
    faces = fs_faces(3, 24)
    assert (faces.shape, faces.dtype) == ((3, 24, 24, 3), np.float32)
    assert 0 <= faces.min() < faces.max() <= 1
    assert (faces == fs_faces(3, 24)).all()
    assert (faces != fs_faces(3, 24, side="b")).any()
    assert (faces != fs_faces(3, 24, seed=1)).any()


def test_tiny_runs_train_and_are_closed(fs_run, tmp_path):
    run = fs_run(set={"training.iterations": 2})
    assert [metrics.step for metrics in run] == [1, 2]
    assert run.info.model_dir == tmp_path / "model"


def test_a_plugin_alone(fs_plugin):
    model = fs_plugin("models", TinyModel, {"model.tiny.width": 3})
    assert model.config["model.tiny"].width == 3
    assert model.network_spec().input_shapes["a"] == (16, 16, 3)
    with pytest.raises(ConfigError, match="below the smallest value"):
        fs_plugin("models", TinyModel, {"model.tiny.width": 0})


def test_what_is_installed_is_not_to_be_seen(fs_plugin):
    with pytest.raises(AssertionError, match="hand in the object itself"):
        fs_plugin("models", "original")


def test_the_fake_run_is_a_run(tmp_path):
    """All that trainers and add-ons may ask of a run, the fake run has."""
    built = parts.build_network(TinyModel)
    run = FakeRun(built, parts.make_plugin("models", TinyModel).config, tmp_path)
    wanted = {name for name in dir(types.Run) if not name.startswith("_")}
    wanted |= set(types.Run.__annotations__)
    assert [name for name in sorted(wanted) if not hasattr(run, name)] == []
    for name in wanted:
        method = getattr(types.Run, name, None)
        if inspect.isfunction(method):
            ours = list(inspect.signature(getattr(run, name)).parameters)
            assert ours == list(inspect.signature(method).parameters)[1:], name


def test_add_ons_are_tried_with_every_event(tmp_path):
    built = parts.build_network(TinyModel)
    run = FakeRun(built, parts.make_plugin("models", TinyModel).config, tmp_path)
    assert set(sample_events(run)) == set(EVENTS)


def test_other_projects_pay_nothing(tmp_path):
    """The plugin of pytest is there in every session, and imports neither torch nor keras."""
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_other():\n"
        "    heavy = {'torch', 'keras', 'numpy', 'fs_kernel.testing.suites'} & set(sys.modules)\n"
        "    assert 'fs_kernel.testing.pytest_plugin' in sys.modules\n"
        "    assert not heavy\n"
    )
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:hypothesispytest",
            "-p",
            "no:cacheprovider",
        ],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 passed" in result.stdout, result.stdout
