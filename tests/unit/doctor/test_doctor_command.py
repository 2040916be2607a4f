"""The command on machines that are whole, and on machines where torch is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from fs_doctor.command import doctor
from fs_doctor.probes import Probes

FAKE_TORCH = """
from types import SimpleNamespace as _S
import sys
__version__ = "9.9.9"
version = _S(cuda=None, hip=None)
backends = _S(mps=_S(is_available=lambda: False))
float32 = float16 = bfloat16 = None
get_num_threads = lambda: 3
ones = lambda *shape, **kind: None
class _Result:
    def __getitem__(self, at): return self
    def item(self): return 72
nn = _S(functional=_S(conv2d=lambda *a, **k: _Result()))
print("torch says hello on stdout")
"""
FAKE_KERAS = """
import os
from types import SimpleNamespace as _S
__version__ = "3.99"
backend = _S(backend=lambda: os.environ["KERAS_BACKEND"])
"""
FAKE_CV2 = '__version__ = "5.9"\n'


@pytest.fixture
def whole(machine):
    machine.library("torch", FAKE_TORCH)
    machine.library("keras", FAKE_KERAS)
    machine.library("cv2", FAKE_CV2)
    (machine.root / "dev/shm").mkdir(parents=True)
    return machine


def ask(probes, *arguments):
    result = CliRunner().invoke(doctor, ["--json", *arguments], obj=probes)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    facts = json.loads(result.stdout)
    return result.exit_code, facts, {check["name"]: check for check in facts["checks"]}


def test_a_machine_that_can_train(whole, tmp_path):
    code, facts, checks = ask(whole.probes(), str(tmp_path / "model"))
    assert code == 0
    assert facts["can_train"] is True
    assert {name: c["status"] for name, c in checks.items() if c["status"] != "ok"} == {
        "cpu": "warning"
    }
    assert checks["torch"]["found"] == "9.9.9, built without CUDA"
    assert checks["keras"]["found"] == "3.99 on torch"
    assert checks["opencv"]["found"] == "5.9"
    assert "torch uses 3 threads" in checks["threads"]["found"]


def test_as_text_every_part_is_one_line(whole):
    result = CliRunner().invoke(doctor, [], obj=whole.probes())
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert [line.split()[1] for line in lines] == [
        *("python", "system", "plugins", "memory", "disk", "shm", "terminal"),
        *("threads", "torch", "driver", "cpu", "keras", "opencv"),
    ]
    assert {line.split()[0] for line in lines} == {"ok", "warning"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ImportError('libcudart.so.13: cannot open shared object file')", "libcudart"),
        ("import os; os._exit(3)", "exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "exit status -4"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        ("import sys; sys.stderr.write('bad CPU\\n'); import os; os.abort()", "bad CPU"),
    ],
)
def test_a_broken_torch_is_one_line_and_the_rest_is_still_looked_at(whole, body, words):
    whole.library("torch", body)
    code, facts, checks = ask(whole.probes())
    assert code == 6
    assert facts["can_train"] is False
    assert words in checks["torch"]["found"]
    assert checks["torch"]["status"] == "problem"
    assert checks["keras"]["status"] == checks["opencv"]["status"] == "ok"
    assert "cpu" not in checks


def test_a_torch_that_hangs_is_given_up(whole):
    whole.library("torch", "import time; time.sleep(60)")
    _, _, checks = ask(whole.probes(seconds=1.0))
    assert checks["torch"]["found"] == "no answer within 1 s"
    assert checks["opencv"]["status"] == "ok"


def test_a_backend_for_other_programs_is_a_warning_and_torch_is_used(whole):
    _, facts, checks = ask(whole.probes({"KERAS_BACKEND": "jax"}))
    assert facts["can_train"] is True
    assert checks["keras"]["status"] == "warning"
    assert checks["keras"]["found"].startswith("3.99 on torch")


def test_the_first_problem_gives_the_exit_code(whole, tmp_path):
    (tmp_path / "file").write_text("")
    whole.library("cv2", "import missing_thing")
    assert ask(whole.probes(), str(tmp_path / "file"))[0] == 5
    assert ask(whole.probes())[0] == 6
    assert ask(whole.probes(plugins=list))[0] == 4


def test_no_interpreter_to_ask(whole):
    code, _, checks = ask(whole.probes(python="/nowhere/python"))
    assert code == 6
    assert "/nowhere/python cannot be run" in checks["torch"]["found"]


def test_this_machine_with_its_real_libraries():
    code, facts, checks = ask(Probes())
    assert code == 0
    assert facts["can_train"] is True
    assert checks["keras"]["found"].endswith("on torch")
    assert "computes fp32" in checks["cpu"]["found"]


def test_the_command_itself_imports_no_torch():
    code = (
        "import sys; from fs_kernel.cli import run_cli; run_cli(['doctor', '--help']);"
        "sys.exit(bool({'torch', 'keras', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "MODEL_DIR" in done.stdout
