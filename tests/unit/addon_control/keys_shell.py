"""What a shell does with a job on its terminal: ``keys_shell.py PIPE COMMAND...``.

Words come through the pipe: fg, bg, suspend, continue, end. The job starts in the background.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pipe, *command = sys.argv[1:]
job = subprocess.Popen(command, process_group=0)
with os.fdopen(int(pipe)) as words:
    for word in map(str.strip, words):
        if word in ("fg", "bg"):
            os.tcsetpgrp(0, job.pid if word == "fg" else os.getpgrp())
        elif word == "suspend":
            os.killpg(job.pid, signal.SIGTSTP)
            os.waitpid(job.pid, os.WUNTRACED)
            os.tcsetpgrp(0, os.getpgrp())
        elif word == "continue":
            os.killpg(job.pid, signal.SIGCONT)
        elif word == "end":
            break
job.kill()
job.wait()
