"""What the start of the program must not do before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from fs_kernel import memory, networks


def modules_after(code):
    """Names of the modules that a fresh Python has imported after ``code``."""
    program = f"import sys\n{textwrap.dedent(code)}\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_imports_nothing_that_trains_and_no_libraries_of_options(arguments):
    found = modules_after(f"from fs_kernel.cli import run_cli\nrun_cli({arguments})")
    heavy = {"torch", "keras", "numpy", "cv2", "pluggy", "attr", "cattrs", "rich", "tomllib"}
    assert not heavy & found
    assert not {"fs_kernel.options.sources", "fs_kernel.types", "fs_kernel.training.loop"} & found


def test_the_package_gives_its_names_when_they_are_asked_for():
    assert "attr" not in modules_after("import fs_kernel")
    assert "fs_kernel.types" in modules_after("from fs_kernel import Network")
    assert "torch" not in modules_after("from fs_kernel import Network, hookimpl, option, Config")


def test_a_run_imports_no_compiler_and_no_other_backend(tmp_path):
    """Importing one takes longer than everything the kernel does before the first step."""
    code = f"""
    from pathlib import Path
    from fs_kernel.testing import tiny_run
    with tiny_run(Path({str(tmp_path)!r})) as run:
        run.advance()
        run.close(save=False)
    """
    found = modules_after(code)
    unwanted = {"tensorflow", "jax", "torchvision", "pandas", "matplotlib"}
    assert not unwanted & {name.split(".")[0] for name in found}
    assert "torch._inductor.compile_fx" not in found


def test_only_the_first_network_of_a_process_skips_looking_for_memory_to_free(monkeypatch):
    import keras

    told = []
    monkeypatch.setattr(keras.utils, "clear_session", lambda free_memory: told.append(free_memory))
    for _ in range(2):
        with networks.building(0, "cpu"):
            pass
    assert told[-1] is True
    program = (
        "import keras; told = []\n"
        "keras.utils.clear_session = lambda free_memory: told.append(free_memory)\n"
        "from fs_kernel import networks\n"
        "for _ in range(3):\n"
        "    with networks.building(0, 'meta'): pass\n"
        "print(told)"
    )
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(done.stdout.lower()) == [False, True, True]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_memory_of_tensors_is_used_again():
    """Without it every large tensor is made of new pages, which the system zeroes one by one."""
    program = textwrap.dedent(
        """
        import resource, sys
        import torch
        from fs_kernel import memory
        if sys.argv[1] == "keep":
            memory.keep_freed()
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
    memory.keep_freed()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed()
