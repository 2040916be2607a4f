"""A session on a terminal, for tests of keys: ``keys_session.py LOG ENDING [PROGRAM]``.

What happens is written to LOG, a line each. ENDING is what becomes of the session once it is asked
to stop: "finish", "raise", "exit" or "hang".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from fake_session import FakeSession
from fs_addon_control import SECTION, Control, ControlOptions
from fs_kernel.types import Finished

LOG, ENDING = Path(sys.argv[1]), sys.argv[2]


class Logging(FakeSession):
    def log(self, line):
        with LOG.open("a") as stream:
            stream.write(f"{line}\n")

    note = warn = log

    def request_stop(self):
        super().request_stop()
        self.log("asked to stop")

    def request_save(self):
        self.log("asked to save")


@click.command()
def session():
    run = Logging(LOG.parent, SECTION, ControlOptions(commands=False))
    control = Control(run)
    run.log(f"listening: {control._keyboard is not None}")
    control.on_start(run.info)
    while not run.asked or ENDING == "hang":
        time.sleep(0.02)
    if ENDING == "raise":
        raise RuntimeError("the session failed")
    if ENDING == "exit":
        sys.exit(3)
    control.on_finish(Finished("stopped", 1, 1.0))
    run.log("finished")


session(args=[], prog_name=sys.argv[3] if len(sys.argv) > 3 else "fs")
