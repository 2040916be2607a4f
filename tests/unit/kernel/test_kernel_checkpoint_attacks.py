"""A save that fails or is killed at any of its calls spoils nothing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from fs_kernel.storage.checkpoints import Checkpoints
from generations import content, loaded, names

# --- attacks: every call that touches the disk fails, or is the last ---


class Killed(BaseException):
    """Stands for a kill: from here on nothing reaches the disk."""


class Saboteur:
    """Counts the calls of a save that change the disk, and stops at the ``at``-th.

    Args:
        at: the call that fails; 0 for none.
        error: what it raises. After a `Killed` every later call raises too, clean-up included.
    """

    TARGETS = (
        (os, "open"),
        (os, "fsync"),
        (Path, "open"),
        (Path, "mkdir"),
        (Path, "rename"),
        (Path, "replace"),
        (Path, "unlink"),
        (Path, "chmod"),
        (shutil, "rmtree"),
    )

    def __init__(self, monkeypatch, at, error):
        self.calls, self.at, self.error, self.dead = 0, at, error, False
        for owner, name in self.TARGETS:
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name), name))

    def wrap(self, function, name):
        def call(*arguments, **keywords):
            if name == "open" and "rb" in arguments:
                return function(*arguments, **keywords)
            self.calls += 1
            if self.calls == self.at:
                self.dead = isinstance(self.error, Killed)
                raise self.error
            if self.dead:
                raise self.error
            result = function(*arguments, **keywords)
            if name == "open" and hasattr(result, "write"):
                return Stream(result, self.wrap(result.write, "write"))
            return result

        return call


class Stream:
    """An open file whose writes are counted too."""

    def __init__(self, stream, write):
        self._stream, self.write = stream, write

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()

    def __getattr__(self, name):
        return getattr(self._stream, name)


def calls_of_a_save(folder, step):
    with pytest.MonkeyPatch.context() as patch:
        saboteur = Saboteur(patch, 0, None)
        Checkpoints(folder).write(content(step), keep=2)
    return saboteur.calls


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Killed()])
@pytest.mark.parametrize("first", [True, False])
def test_f33_no_failing_call_spoils_what_was_there(tmp_path, error, first):
    start = tmp_path / "start"
    start.mkdir()
    for step in () if first else (1, 2):
        Checkpoints(start).write(content(step), keep=2)
    shutil.copytree(start, tmp_path / "counted")
    total = calls_of_a_save(tmp_path / "counted", 3)
    assert total > 20
    outcomes = set()
    for at in range(1, total + 1):
        folder = tmp_path / f"attack_{at}"
        shutil.copytree(start, folder)
        with pytest.MonkeyPatch.context() as patch:
            Saboteur(patch, at, error)
            try:
                Checkpoints(folder).write(content(3), keep=2)
                raised = False
            except (OSError, Killed):
                raised = True
        checkpoints = Checkpoints(folder)
        if first and not checkpoints.checkpoints():
            outcomes.add("nothing")
        else:
            found = loaded(folder)
            assert found == 3 or not first
            assert found in (2, 3)
            outcomes.add(found)
            if not raised:
                assert found == 3
        if not isinstance(error, Killed):
            assert not (raised and list((folder / "checkpoints").glob(".writing-*")))
            assert not [p for p in folder.iterdir() if p.name.startswith(".checkpoint")]
        if at % 3 == 0:  # And afterwards the folder takes saves as ever.
            Checkpoints(folder).write(content(4), keep=2)
            assert loaded(folder) == 4
            assert len(names(folder)) <= 2
            assert not list((folder / "checkpoints").glob(".writing-*"))
        shutil.rmtree(folder)
    assert outcomes == ({"nothing", 3} if first else {2, 3})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
def test_f33_a_real_kill_at_any_moment_spoils_nothing(tmp_path):
    """A child is ended by ``os._exit`` at its k-th audited file-system event."""
    start = tmp_path / "start"
    start.mkdir()
    for step in (1, 2):
        Checkpoints(start).write(content(step), keep=2)
    made, outcomes, at = content(3), set(), 0
    while True:
        at += 1
        folder = tmp_path / f"kill_{at}"
        shutil.copytree(start, folder)
        child = os.fork()
        if child == 0:
            _save_until(folder, made, at)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 9)
        found = loaded(folder)
        outcomes.add(found)
        if at % 3 == 0:
            Checkpoints(folder).write(content(4), keep=2)
            assert loaded(folder) == 4
        shutil.rmtree(folder)
        if code == 0:
            assert found == 3
            break
    assert outcomes == {2, 3}
    assert at > 15


def _save_until(folder, made, at):
    """In a child: save, and end at the ``at``-th file-system event. Never returns."""
    events = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
    seen = 0

    def count(event, arguments):
        nonlocal seen
        if event in events and str(folder) in str(arguments[0]):
            seen += 1
            if seen == at:
                os._exit(9)

    try:
        sys.addaudithook(count)
        Checkpoints(folder).write(made, keep=2)
        os._exit(0)
    finally:
        os._exit(1)
