"""Whole runs of the program in a child of this process: quick to start, and free to be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fs_kernel.cli import run_cli
from fs_kernel.storage.checkpoints import Checkpoints

PARTS = [
    *("-t", "fs_kernel.testing:TinyModel", "--trainer", "fs_kernel.testing:PlainTrainer"),
    *("--set", "training.feed=fs_kernel.testing:ArrayFeed"),
    *("--set", "training.executor=fs_kernel.testing:PlainExecutor"),
    *("--set", "training.device=cpu", "--set", "training.addons=[]", "--seed", "1", "-b", "4"),
]


class Child:
    """A forked process that runs ``work`` and exits with what it returns.

    Args:
        work: called in the child.
        output: file that takes the child's stdout and stderr; a descriptor is used as it is.
    """

    def __init__(self, work: Callable[[], int], output: Path | int) -> None:
        self.pid = os.fork()
        self.code: int | None = None
        if self.pid == 0:
            self._live(work, output)

    def _live(self, work: Callable[[], int], output: Path | int) -> None:
        code = 99
        try:
            if isinstance(output, Path):
                output = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream, number in (("stdout", 1), ("stderr", 2)):
                os.dup2(output, number)
                setattr(sys, stream, os.fdopen(number, "w", buffering=1, closefd=False))
            torch.set_num_threads(1)
            code = work()
        finally:
            os._exit(code)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def alive(self) -> bool:
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is None

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code; killed, and an error, if it does not end in time."""
        if not until(lambda: not self.alive(), seconds):
            self.kill()
            raise AssertionError("the child did not end")
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.code = -signal.SIGKILL


def until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def fs_run(folder: Path, *arguments: str) -> Callable[[], int]:
    """``fs run`` of the tiny parts in ``folder/model``."""
    for side in ("a", "b"):
        (folder / side).mkdir(exist_ok=True)
    words = ["run", "-m", folder / "model", "-A", folder / "a", "-B", folder / "b", *PARTS]
    return lambda: run_cli([str(word) for word in (*words, *arguments)])


def saved_step(folder: Path) -> int:
    """The step of the generation that counts; 0 if there is none."""
    name = Checkpoints(folder / "model").current_name()
    return int(name[:9]) if name else 0
