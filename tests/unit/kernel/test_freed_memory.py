"""Memory that tensors freed stays with the process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from fs_kernel import memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_memory_of_tensors_is_used_again():
    """Without it every large tensor is made of new pages, which the system zeroes one by one."""
    program = textwrap.dedent(
        """
        import resource, sys
        import torch
        from fs_kernel.memory import keep_freed_memory
        if sys.argv[1] == "keep":
            keep_freed_memory()
        def faults(times):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(times):
                held = [torch.ones(40 * 2**20, dtype=torch.uint8) for _ in range(3)]
                del held
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        faults(5)
        print(faults(10))
        """
    )
    counts = {}
    for how in ("keep", "give"):
        done = subprocess.run(
            [sys.executable, "-c", program, how], capture_output=True, text=True, check=True
        )
        counts[how] = int(done.stdout)
    assert counts["keep"] * 10 < counts["give"]


def test_where_memory_cannot_be_kept_nothing_happens(monkeypatch):
    def broken(_):
        raise OSError

    monkeypatch.setattr(memory.ctypes, "CDLL", broken)
    memory.keep_freed_memory()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()
