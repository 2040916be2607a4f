"""What torch.compile needs of this machine."""

from __future__ import annotations

import functools
import shutil
import subprocess


@functools.cache
def compiles() -> bool:
    """Whether there is a C++ compiler with OpenMP."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return False
    source = "#include <omp.h>\nint main() { return 0; }"
    command = [compiler, "-x", "c++", "-fopenmp", "-fsyntax-only", "-"]
    return subprocess.run(command, input=source.encode(), capture_output=True).returncode == 0
