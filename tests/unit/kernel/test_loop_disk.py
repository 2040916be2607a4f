"""Full disks, read-only folders, damaged checkpoints: one line, and nothing is lost."""

from __future__ import annotations

import pytest
from fs_kernel.errors import (
    ModelFolderError,
)
from fs_kernel.storage import tensors
from runs import everything_below, held, identical, open_tiny, state_of, train


def full_disk(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_does_not_stop_training(tmp_path, events, monkeypatch):
    train(tmp_path, 2)
    run = open_tiny(tmp_path, 12, every=3)
    for metrics in run:
        if metrics.step == 4:
            monkeypatch.setattr(tensors, "chunks", full_disk)
        if metrics.step == 9:
            monkeypatch.undo()
    run.close()
    assert [e["step"] for e in events(tmp_path, "save_failed")] == [5, 8]
    assert [e["step"] for e in events(tmp_path, "saved")] == [2, 11, 12]
    messages = [e["message"] for e in events(tmp_path, "warning")]
    assert len(messages) == 2
    assert "No space left" in messages[0]
    assert "checkpoint of step 2 is intact" in messages[0]
    assert "training continues" in messages[0]
    assert state_of(tmp_path)["iterations"] == 12


def test_a_full_disk_at_the_end_is_an_error_that_loses_nothing(tmp_path, monkeypatch):
    train(tmp_path, 2)
    before = held(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(tensors, "chunks", full_disk)
        with pytest.raises(ModelFolderError, match=r"could not save step 4.*step 2 is intact"):
            train(tmp_path, 4)
    assert identical(held(tmp_path), before)
    assert train(tmp_path, 4).step == 4


def test_a_full_disk_at_the_first_save_promises_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "chunks", full_disk)
    with pytest.raises(ModelFolderError, match="No space left") as caught:
        train(tmp_path, 1)
    assert "intact" not in str(caught.value)


def test_a_disk_that_is_too_small_is_found_at_the_start(tmp_path, monkeypatch):
    from fs_kernel.training import space

    usage = shutil_usage(free=1000)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ModelFolderError, match=r"saving needs about .* MB more"):
        open_tiny(tmp_path, 1)


def shutil_usage(free):
    from collections import namedtuple

    return namedtuple("usage", "total used free")(free, 0, free)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(ModelFolderError, match="is a file; a model needs a folder"):
        open_tiny(tmp_path, 1)
    assert (tmp_path / "model").read_text() == "mine"


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    from fs_kernel.storage import files

    train(tmp_path, 1)
    before = everything_below(tmp_path)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ModelFolderError, match=r"cannot write in .*: Read-only file system"):
        open_tiny(tmp_path, 2)
    assert everything_below(tmp_path) == before


def test_logs_that_cannot_be_written_are_found_at_the_start(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/logs").write_text("in the way")
    with pytest.raises(ModelFolderError, match=r"cannot write in .*logs"):
        open_tiny(tmp_path, 1)


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path):
    train(tmp_path, 4, every=2)
    (tmp_path / "model/checkpoints/000000004/weights.safetensors").write_bytes(b"x")
    with open_tiny(tmp_path, 5) as run:
        assert run.step == 2
        assert any("000000004" in line and "000000002 instead" in line for line in run.warnings)
        assert run.train().step == 5
    assert state_of(tmp_path)["iterations"] == 5
