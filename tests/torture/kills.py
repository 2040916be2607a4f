"""Kill a training run, look at what it left, and go on: again and again."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kernel"))

from forked import Child, until
from fs_kernel import hookimpl
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import tiny_run
from runs import held, identical

WAYS = ("inside a save", "at a file event of a save", "when a save has ended", "at any time")
WEIGHTS = (40, 35, 10, 15)
_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}


@attrs.frozen
class Kill:
    """What a kill did.

    Attributes:
        way: one of `WAYS`.
        in_save: whether a save was under way.
        trained: the last step that was done before it.
        counted: the last step that had been reported as saved before it.
        found: the step it resumes from.
        problem: what is wrong with what it left, if anything is.
    """

    way: str
    in_save: bool
    trained: int
    counted: int
    found: int
    problem: str | None


class Victim:
    """A training run of the tiny parts in ``folder``, in a process of its own.

    Args:
        folder: where ``model`` is or will be.
        chance: decides how often it saves.
        suicide: kill it at this many file events of saves; 0 for never.
    """

    def __init__(self, folder: Path, chance: random.Random, suicide: int = 0) -> None:
        self._shared = mmap.mmap(-1, 16)
        every, keep = chance.choice([1, 2, 3]), chance.choice([1, 2, 3])

        def work() -> int:
            if suicide:
                _die_at(suicide, folder / "model/checkpoint")
            values = {"training.iterations": 10**8, "save.interval": every, "save.keep": keep}
            with tiny_run(folder, set=values, addons=[_Reporter(self._shared)]) as run:
                for metrics in run:
                    struct.pack_into("q", self._shared, 0, metrics.step)
            return 0

        self.child = Child(work, folder / "output")

    @property
    def trained(self) -> int:
        return int(struct.unpack_from("q", self._shared, 0)[0])

    @property
    def counted(self) -> int:
        return int(struct.unpack_from("q", self._shared, 8)[0])


class _Reporter:
    """An add-on that tells the parent which step counts."""

    name = "reporter"

    def __init__(self, shared: mmap.mmap) -> None:
        self._shared = shared

    @hookimpl
    def create_addon(self) -> Any:
        return self

    def observers(self) -> list[Any]:
        return [self]

    def on_checkpoint(self, saved: Any) -> None:
        struct.pack_into("q", self._shared, 8, saved.step)


def _die_at(count: int, prefix: Path) -> None:
    left = count

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in _EVENTS and str(arguments[0]).startswith(str(prefix)):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_once(folder: Path, chance: random.Random) -> Kill:
    """Begin or resume a run, kill it in one of `WAYS`, and look at what it left."""
    before = found_step(folder)
    way = chance.choices(WAYS, WEIGHTS)[0]
    victim = Victim(folder, chance, chance.randrange(30, 400) if way == WAYS[1] else 0)
    saves = folder / "model/checkpoints"
    if way == WAYS[1]:
        victim.child.wait()
    else:
        saving = lambda: any(saves.glob(".writing-*"))  # noqa: E731
        counted = lambda: victim.counted >= before + chance.randrange(1, 8)  # noqa: E731
        ready = until(lambda: victim.trained > before or not victim.child.alive())
        if ready and victim.child.alive() and way != WAYS[3]:
            until(counted)
            until(saving if way == WAYS[0] else lambda: not saving())
            time.sleep(chance.random() * (0.012 if way == WAYS[0] else 0.003))
        else:
            time.sleep(chance.random() * 0.5)
        victim.child.kill()
    problem = None
    if victim.child.code != -signal.SIGKILL:
        problem = f"the run ended by itself: {(folder / 'output').read_text()[-2000:]}"
    in_save = any(saves.glob(".writing-*")) if saves.is_dir() else False
    counted_step = max(victim.counted, before)
    found, wrong = look(folder)
    if found < counted_step:
        wrong = f"step {counted_step} had been saved, {found} was found"
    trained = max(victim.trained, before)
    return Kill(way, in_save, trained, counted_step, found, problem or wrong)


def found_step(folder: Path) -> int:
    return look(folder)[0]


def look(folder: Path) -> tuple[int, str | None]:
    """The step that a run would resume from, and what is wrong with the folder."""
    checkpoints = Checkpoints(folder / "model")
    if not checkpoints.exists():
        return 0, None
    lines: list[str] = []
    try:
        name = checkpoints.latest_valid(lines.append)
        checkpoints.read_weights(name)
        checkpoints.read_training(name)
        step = int(checkpoints.read_state(name)["iterations"])
    except Exception as error:
        return 0, f"{type(error).__name__}: {error}"
    bad = [p for g in checkpoints.checkpoints() if (p := checkpoints.validation_error(g.name))]
    return step, "; ".join([*lines, *bad]) or None


def finish(folder: Path, straight: Path) -> str | None:
    """End a killed run and hold it against one that never was: equal to the bit?

    Returns:
        What is wrong, if anything is.
    """
    straight.mkdir()
    target = found_step(folder) + 2

    def to_the_end(where: Path) -> int:
        with tiny_run(where, set={"training.iterations": target, "save.interval": 0}) as run:
            run.train()
        return 0

    for where in (folder, straight):
        code = Child(lambda where=where: to_the_end(where), where / "output").wait(600)
        if code:
            return f"exit code {code}: {(where / 'output').read_text()[-2000:]}"
    if not identical(held(folder), held(straight)):
        return f"after {target} steps it differs from a run that was never killed"
    return None
