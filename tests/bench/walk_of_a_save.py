"""List the functions that a checkpoint passes on its way from the trainer to the disk.

It is measured, not read: one save of a tiny run is watched with `sys.setprofile`, from the call of
``run.save()`` until the pointer file names the new checkpoint. Listed are the functions of fs_*
packages in the order in which they are first entered, with thread, file and number of calls; what a
thread enters again is counted. Prints a table, or JSON with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

#: Names of the standard trainer, newest first.
TRAINERS = ("standard", "original")


class Watch:
    """Collects the functions that are entered until a file changes.

    Args:
        pointer: the file whose change ends the walk.
    """

    def __init__(self, pointer: Path) -> None:
        self._pointer = pointer
        self._before = self._stamp()
        self._lock = threading.Lock()
        self._known: dict[CodeType, str | None] = {}
        self._steps: dict[tuple[str, str, str], int] = {}
        self._done = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note a call; the profile function of all threads."""
        if self._done:
            return
        with self._lock:
            # Replacing the file is a call into C, so the change is seen when that one returns.
            if event == "c_return" and getattr(argument, "__module__", None) in ("posix", "nt"):
                self._done = self._done or self._stamp() != self._before
            if event == "call" and not self._done:
                code = frame.f_code
                if code not in self._known:
                    self._known[code] = _place(code)
                if (place := self._known[code]) is not None:
                    key = (threading.current_thread().name, place, code.co_qualname)
                    self._steps[key] = self._steps.get(key, 0) + 1

    @property
    def reached(self) -> bool:
        """Whether the pointer was written while it was watched."""
        return self._done

    def walk(self) -> list[dict[str, Any]]:
        """Return ``thread``, ``file``, ``function`` and ``calls`` of each, in order."""
        names = ("thread", "file", "function")
        return [dict(zip(names, key, strict=True)) | {"calls": n} for key, n in self._steps.items()]

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._pointer.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


def _place(code: CodeType) -> str | None:
    """Return the file of a function from its fs_* package on; None for what does not count."""
    # Lambdas and comprehensions belong to the function they stand in.
    if code.co_name.startswith("<"):
        return None
    parts = Path(code.co_filename).parts
    first = next((i for i, part in enumerate(parts) if part.startswith("fs_")), None)
    return None if first is None else "/".join(parts[first:])


def watch_a_save(folder: Path, trainer: str) -> list[dict[str, Any]]:
    """Return the walk of the second save of a tiny run with the standard trainer.

    The first save has imported and allocated what is needed once.

    Args:
        folder: an empty one for the run.
        trainer: name of the trainer plugin.
    """
    from fs_kernel.testing import tiny_run

    values = {"training.iterations": 10, "optimizer.ema_decay": 0.9}
    with tiny_run(folder, trainer=trainer, set=values) as run:
        steps = iter(run)
        next(steps)
        run.save()
        next(steps)
        watch = Watch(folder / "model" / "checkpoint.json")
        threading.setprofile(watch)
        sys.setprofile(watch)
        try:
            run.save()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    assert watch.reached, "the save ended, but checkpoint.json is the old one"
    return watch.walk()


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainer", help=f"name of the trainer ({' or '.join(TRAINERS)})")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    from fs_kernel.errors import FsError

    for name in [given.trainer] if given.trainer else TRAINERS:
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = watch_a_save(Path(folder), name)
            break
        except FsError as error:
            failure = error
    else:
        sys.exit(f"error: {failure}")
    facts = {
        "functions": len({(step["file"], step["function"]) for step in found}),
        "files": len({step["file"] for step in found}),
        "calls": sum(step["calls"] for step in found),
    }
    if given.json:
        print(json.dumps({**facts, "walk": found}, indent=1))
        return
    thread = ""
    for number, step in enumerate(found, start=1):
        if step["thread"] != thread:
            thread = step["thread"]
            print(f"[{thread}]")
        calls = f"  x{step['calls']}" if step["calls"] > 1 else ""
        print(f"{number:4} {step['file']:40} {step['function']}{calls}")
    print("{functions} functions in {files} files, {calls} calls".format_map(facts))


if __name__ == "__main__":
    main()
