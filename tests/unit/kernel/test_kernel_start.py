"""What the start of the program must not do before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from fs_kernel import networks


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
