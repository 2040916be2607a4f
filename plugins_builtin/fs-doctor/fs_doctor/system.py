"""Check the machine itself: Python, plugins, memory, disk, processors, terminal."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections import Counter
from pathlib import Path

import fs_kernel
from fs_kernel.storage import format_bytes

from fs_doctor.finding import Finding, ok, problem, warning
from fs_doctor.limits import memory_limit, processor_limit
from fs_doctor.probes import Probes

#: Kinds of plugins that every run needs, and the package of the default one.
NEEDED = {
    "model": "fs-model-original",
    "trainer": "fs-trainer-standard",
    "feed": "fs-feed-faces",
    "executor": "fs-executor-torch",
}
LITTLE_MEMORY = 4e9
LITTLE_DISK = 10e9
LITTLE_SHARED = 64e6


def check_python(probes: Probes) -> Finding:
    """Check the interpreter."""
    bits = 64 if sys.maxsize > 2**32 else 32
    found = f"{platform.python_version()}, {bits} bit, {sys.executable}"
    if bits == 32:
        return problem("python", found, "torch needs a 64-bit Python")
    return ok("python", found)


def check_system(probes: Probes) -> Finding:
    """Check the operating system."""
    found = platform.platform(terse=True)
    if probes.system == "Linux":
        return ok("system", found)
    return ok("system", f"{found} (fs-kernel is tested on Linux)")


def check_plugins(probes: Probes) -> Finding:
    """Check the kernel, and that a plugin of every kind that a run needs is installed."""
    found = probes.plugins()
    packages = {row["distribution"] for row in found}
    words = f"fs-kernel {fs_kernel.__version__}, {len(found)} plugins of {len(packages)} packages"
    usable = Counter(row["kind"] for row in found if row["status"] == "ok")
    if missing := [kind for kind in NEEDED if not usable[kind]]:
        advice = "pip install " + " ".join(NEEDED[kind] for kind in missing)
        return problem("plugins", f"{words}, but no {', '.join(missing)}", advice, 4)
    if bad := [f"{row['name']} ({row['status']})" for row in found if row["status"] != "ok"]:
        return warning(
            "plugins", f"{words}; not usable: {', '.join(bad)}", "fs plugins doctor says more"
        )
    return ok("plugins", words)


def check_memory(probes: Probes) -> Finding:
    """Check the main memory."""
    total, available = probes.memory()
    limit = memory_limit(probes)
    found = f"{format_bytes(available)} of {format_bytes(total)} available"
    if limit is not None and limit < total:
        found += f", limited to {format_bytes(limit)} by a control group"
        available = min(available, limit)
    if available < LITTLE_MEMORY:
        return warning("memory", found, "close other programs, or take a small network: fs models")
    return ok("memory", found)


def check_disk(probes: Probes, folder: Path | None) -> Finding:
    """Check the disk's room for a model.

    Args:
        probes: the machine.
        folder: where the model is or will be; None for the working directory.
    """
    here = (folder or Path()).absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    if folder is not None and not (here.is_dir() and os.access(here, os.W_OK)):
        return problem("disk", f"{here} cannot be written to", "choose another folder", 5)
    free = probes.disk_free(here)
    found = f"{format_bytes(free)} free at {here}"
    if free < LITTLE_DISK:
        return warning("disk", found, "free some; save.max_disk and save.keep bound a model")
    return ok("disk", found)


def check_processors(probes: Probes, torch_threads: int | None) -> Finding:
    """Compare the processors this process may use with the threads torch starts.

    Args:
        probes: the machine.
        torch_threads: as torch reports; None if it cannot be imported.
    """
    usable, limit = probes.processors(), processor_limit(probes)
    found = f"{usable} processors usable"
    if limit is not None and limit < usable:
        found += f", limited to the time of {limit:g} by a control group"
        usable = max(1, math.ceil(limit))
    if torch_threads is None:
        return ok("threads", found)
    found += f"; torch uses {torch_threads} threads"
    if torch_threads > usable:
        advice = f"set OMP_NUM_THREADS={usable}, more threads than processors are slow"
        return warning("threads", found, advice)
    return ok("threads", found)


def check_shared_memory(probes: Probes) -> Finding:
    """Check ``/dev/shm``, which containers often make small."""
    if probes.system != "Linux":
        return ok("shm", f"not limited on {probes.system}")
    path = probes.root / "dev/shm"
    if not path.is_dir():
        return warning("shm", "there is no /dev/shm", "trainers with several processes need one")
    free = probes.disk_free(path)
    found = f"{format_bytes(free)} free in /dev/shm"
    if free < LITTLE_SHARED:
        advice = "fine for one process; trainers with several need more (docker: --shm-size=1g)"
        return warning("shm", found, advice)
    return ok("shm", found)


def check_terminal(probes: Probes) -> Finding:
    """Check whether stderr is a terminal, where a progress bar can be drawn."""
    if not probes.is_terminal():
        return ok("terminal", "none: progress is written as plain lines")
    if probes.environ.get("TERM") == "dumb":
        return ok("terminal", "a simple one (TERM=dumb): progress is written as plain lines")
    return ok("terminal", "yes: progress is drawn as a bar")
