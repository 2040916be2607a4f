"""Releases: every distribution has one version, and all move together.

::

    python .ci/release.py check            # one version everywhere? exit code 1 if not
    python .ci/release.py set 0.2.0        # write it everywhere
    python .ci/release.py build dist       # a wheel and an sdist of every distribution

The steps of a release are in ``docs/releasing.md``. ``--root`` names another checkout.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
VERSION = re.compile(r'^version = "([^"]+)"', re.MULTILINE)
MODULE = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)
RANGE = re.compile(r'"(fs-[a-z0-9-]+(?:\[[a-z0-9,]+\])?)>=[\d.]+,<[\d.]+"')


def distributions(root: Path) -> list[Path]:
    """Folders of all distributions, the kernel's first."""
    return [root, *sorted(path.parent for path in root.glob("plugins_builtin/*/pyproject.toml"))]


def with_ranges(root: Path) -> list[Path]:
    """Every file that says which versions of our distributions it works with."""
    own = [folder / "pyproject.toml" for folder in distributions(root)]
    examples = root.glob("tests/template/examples/*/pyproject.toml")
    return [*own, *sorted(root.glob("plugin_template/*/pyproject.toml")), *sorted(examples)]


def range_of(version: str) -> str:
    """What a plugin of this version works with: ``>=0.2,<0.3`` for 0.2.5."""
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{major}.{int(minor) + 1}"


def problems(root: Path) -> list[str]:
    """Lines that name every place with another version than the kernel's."""
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    found = []
    for folder in distributions(root):
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        if project["version"] != version:
            found.append(f"{project['name']} is {project['version']}, fs-kernel is {version}")
        packages = [path.parent for path in folder.glob("*/__init__.py")]
        packages = [root / "kernel/fs_kernel"] if folder == root else packages
        found += [
            f"{package.relative_to(root)} has no py.typed"
            for package in packages
            if not (package / "py.typed").is_file()
        ]
    module = MODULE.search((root / "kernel/fs_kernel/__init__.py").read_text("utf-8"))
    if module is None or module[1] != version:
        found.append(f"fs_kernel.__version__ is not {version}")
    wanted = range_of(version)
    for path in with_ranges(root):
        for match in RANGE.finditer(path.read_text("utf-8")):
            if match[0] != f'"{match[1]}{wanted}"':
                found.append(f"{path.relative_to(root)} asks for {match[0]}, not {wanted}")
    return found


def set_version(root: Path, version: str) -> None:
    """Write a version into every place that has one."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        sys.exit(f"'{version}' is no version; write for example 0.2.0 or 0.2.0rc1")
    for folder in distributions(root):
        path = folder / "pyproject.toml"
        text = VERSION.sub(f'version = "{version}"', path.read_text("utf-8"), count=1)
        path.write_text(text, "utf-8")
    for path in with_ranges(root):
        text = RANGE.sub(rf'"\g<1>{range_of(version)}"', path.read_text("utf-8"))
        path.write_text(text, "utf-8")
    path = root / "kernel/fs_kernel/__init__.py"
    path.write_text(MODULE.sub(f'__version__ = "{version}"', path.read_text("utf-8")), "utf-8")


def build(root: Path, target: Path) -> list[Path]:
    """Make a wheel and an sdist of every distribution.

    Returns:
        The files, two for each distribution.
    """
    made: list[Path] = []
    for folder in distributions(root):
        before = set(target.glob("*"))
        command = [sys.executable, "-m", "hatchling", "build", "-d", str(target.resolve())]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{folder.name} does not build:\n{result.stderr}")
        made += sorted(set(target.glob("*")) - before)
    return made


def main() -> None:
    """Run the command that was typed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=HERE, help="the checkout")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="one version everywhere?")
    commands.add_parser("set", help="write a version everywhere").add_argument("version")
    folder = commands.add_parser("build", help="a wheel and an sdist of every distribution")
    folder.add_argument("target", type=Path)
    given = parser.parse_args()
    if given.command == "set":
        set_version(given.root, given.version)
    if found := problems(given.root):
        sys.exit("\n".join(found))
    if given.command == "build":
        given.target.mkdir(parents=True, exist_ok=True)
        for path in build(given.root, given.target):
            print(path)


if __name__ == "__main__":
    main()
