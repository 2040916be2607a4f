"""Fresh machines: wheels of every distribution, and empty environments to install them in.

The dependencies are installed once per test session, in an environment that holds no fs package.
Each fresh environment is an empty one with a ``.pth`` to those dependencies, so that nothing of the
working tree can leak in.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = [ROOT, *sorted(p.parent for p in ROOT.glob("plugins_builtin/*/pyproject.toml"))]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command, fail the test with its output if it fails."""
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=900, **options
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


class Machine:
    """An environment to install wheels in and type commands on."""

    def __init__(self, folder: Path, wheels: dict[str, Path]) -> None:
        self.python = folder / SCRIPTS / "python"
        self.program = folder / SCRIPTS / "fs"
        self._wheels = wheels
        hidden = ("VIRTUAL_ENV", "PYTHONPATH", "KERAS_BACKEND")
        self.environment = {k: v for k, v in os.environ.items() if k not in hidden}
        self.environment["XDG_STATE_HOME"] = str(folder / "state")

    def pip(self, *arguments: str | Path) -> None:
        run(sys.executable, "-m", "pip", "--python", self.python, *arguments, "-q")

    def install(self, names: Iterable[str]) -> None:
        self.pip("install", "--no-deps", "--no-index", *(self._wheels[name] for name in names))

    def uninstall(self, name: str) -> None:
        self.pip("uninstall", "-y", name)

    def test(self, *folders: str | Path) -> str:
        """Run the tests of packages; the test fails with their output if they do."""
        command = (self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *folders)
        return run(*command, env=self.environment).stdout

    def fs(self, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        """Type an ``fs`` command; its exit code is the test's business."""
        return subprocess.run(
            [str(self.program), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=600,
            env=self.environment,
            **options,
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Type an ``fs`` command and leave it running."""
        return subprocess.Popen(
            [str(self.program), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One wheel per distribution, by name."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    run(*pip, "-w", folder, *DISTRIBUTIONS)
    names = [project(source)["name"] for source in DISTRIBUTIONS]
    return {name: next(folder.glob(f"{name.replace('-', '_')}-*.whl")) for name in names}


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of an environment with all dependencies and no fs package.

    What packages are built and tested with is there too, so that no test needs the network.
    """
    folder = tmp_path_factory.mktemp("dependencies") / "venv"
    venv.create(folder, with_pip=False)
    wanted = {
        line
        for source in DISTRIBUTIONS
        for line in project(source)["dependencies"]
        if not line.startswith("fs-")
    }
    wanted |= {"hatchling", "editables", "pytest"}
    python = folder / SCRIPTS / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    run(*pip, "-c", ROOT / "constraints.txt", *sorted(wanted))
    where = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    return Path(where.stdout.strip())


@pytest.fixture(scope="session")
def new_machine(
    tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path], dependencies: Path
) -> Callable[[Iterable[str]], Machine]:
    """Make a fresh machine with the named distributions installed."""

    def make(names: Iterable[str]) -> Machine:
        folder = tmp_path_factory.mktemp("machine") / "venv"
        venv.create(folder, with_pip=False)
        machine = Machine(folder, wheels)
        command = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = Path(run(machine.python, "-c", command).stdout.strip())
        (packages / "dependencies.pth").write_text(f"{dependencies}\n")
        machine.install(names)
        return machine

    return make


@pytest.fixture(scope="session")
def full_machine(new_machine: Callable[[Iterable[str]], Machine], wheels: dict) -> Machine:
    """A fresh machine with everything installed."""
    return new_machine(wheels)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic people, 27 small faces each."""
    from fs_synthetic import draw_people

    folder = tmp_path_factory.mktemp("people")
    draw_people(folder, 27, 128, 5)
    return folder
