"""Bad input gets one clear line, the right exit code, and loses nothing."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat

import pytest
from fs_kernel.cli import run_cli
from small_runs import SMALL


@pytest.fixture
def fs(capsys):
    """Type a command; gives the exit code and the lines on stderr."""

    def call(*arguments):
        capsys.readouterr()
        code = run_cli([str(a) for a in arguments])
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        return code, errors

    return call


@pytest.fixture
def train(fs, people, tmp_path):
    def call(*arguments, a=people / "A", b=people / "B", m=tmp_path / "model", t=SMALL):
        command = ["run", "-A", a, "-B", b, "-m", m, "-b", "2", "-i", "2", "--seed", "1"]
        if t is not None:
            command += ["-t", t]
        return fs(*command, "--set", "training.addons=[]", *arguments)

    return call


def one_line(errors):
    lines = [line for line in errors.splitlines() if line.startswith("fs: ")]
    assert len(lines) == 1, errors
    return lines[0]


def test_a_missing_folder(train, tmp_path):
    code, errors = train(a=tmp_path / "nowhere")
    assert code == 3
    assert "nowhere" in one_line(errors)
    assert not (tmp_path / "model").exists()


def test_an_empty_folder(train, tmp_path):
    (tmp_path / "empty").mkdir()
    code, errors = train(a=tmp_path / "empty")
    assert code == 3
    assert "empty" in one_line(errors)
    assert not (tmp_path / "model").exists()


def test_too_few_faces(train, people, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((people / "A").iterdir())[:24]:
        shutil.copy(path, few)
    code, errors = train(a=few)
    assert code == 3
    assert "24" in one_line(errors)
    assert "25" in one_line(errors)


def test_a_broken_png_among_good_ones_is_reported_and_skipped(train, people, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(people / "A", mixed)
    victim = sorted(mixed.iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:-2000])
    code, errors = train(a=mixed)
    assert code == 0
    assert victim.name in errors
    assert (tmp_path / "model" / "checkpoint.json").exists()


def test_a_mask_that_some_faces_lack(train, people, tmp_path):
    code, errors = train("--set", "face.mask_type=vgg-clear")
    assert code == 3
    assert "vgg-clear" in one_line(errors)
    assert not (tmp_path / "model").exists()


def test_a_mask_that_is_needed_but_not_chosen(train):
    code, errors = train("--set", "face.mask_type=none")
    assert code == 2
    assert "mask_type" in one_line(errors)


def test_a_model_folder_of_another_model(train, tmp_path):
    assert train()[0] == 0
    before = (tmp_path / "model" / "checkpoint.json").read_bytes()
    code, errors = train(t="original")
    assert code == 5
    assert "small_net" in one_line(errors)
    assert (tmp_path / "model" / "checkpoint.json").read_bytes() == before


def test_another_programs_model(train, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "original.keras").write_bytes(b"PK")
    code, errors = train()
    assert code == 5
    assert f"fs import {folder}" in one_line(errors)


def test_a_file_in_place_of_the_model_folder(train, tmp_path):
    (tmp_path / "model").write_text("x")
    code, errors = train()
    assert code == 5
    assert "model" in one_line(errors)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs ordinary permissions")
def test_a_read_only_model_folder(train, tmp_path):
    assert train()[0] == 0
    folder = tmp_path / "model"
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        code, errors = train("-i", "4")
    finally:
        folder.chmod(0o755)
    assert code == 5
    assert "cannot write" in one_line(errors)


def test_a_folder_that_refuses_writes(train, tmp_path, monkeypatch):
    assert train()[0] == 0
    from fs_kernel.storage import files

    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    code, errors = train("-i", "4")
    assert code == 5
    assert "cannot write in" in one_line(errors)


def test_a_disk_too_small_for_the_model(train, tmp_path, monkeypatch):
    from fs_kernel.training import space

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    code, errors = train()
    assert code == 5
    assert "the disk has 1 kB free" in one_line(errors)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(train, fs, tmp_path, monkeypatch):
    assert train()[0] == 0
    from fs_kernel.storage import tensors

    def full(_):
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tensors, "chunks", full)
        code, errors = train("-i", "4")
    assert code == 5
    assert "No space left" in one_line(errors)
    assert "step 2 is intact" in one_line(errors)
    assert fs("model", "verify", tmp_path / "model")[0] == 0
    assert train("-i", "4")[0] == 0


def test_a_run_gives_signals_back(train):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert train()[0] == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_swap_of_nothing(train, fs, tmp_path):
    assert train()[0] == 0
    (tmp_path / "empty").mkdir()
    model, out = tmp_path / "model", tmp_path / "out"
    code, errors = fs("swap", model, tmp_path / "empty", out, "-t", SMALL)
    assert code == 3
    assert "empty" in one_line(errors)
    code, errors = fs("swap", model, tmp_path / "empty", out)
    assert code == 4
    assert f"only run when you name it: -t {SMALL}" in one_line(errors)
    code, errors = fs("swap", tmp_path / "nothing", tmp_path / "empty", tmp_path / "out")
    assert code == 5
    assert "nothing holds no model" in one_line(errors)
    assert not (tmp_path / "out").exists()


def test_a_direction_that_is_none(fs, tmp_path):
    code, errors = fs("swap", tmp_path, tmp_path, tmp_path, "--direction", "sideways")
    assert code == 2
    assert "a2b" in one_line(errors)
