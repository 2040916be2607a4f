"""What the kernel may import, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import fs_kernel
import pytest

KERNEL = Path(fs_kernel.__file__).parent
FILES = sorted(KERNEL.rglob("*.py"))
OWN = {
    "attrs",
    "cattrs",
    "click",
    "filelock",
    "fs_graph",
    "fs_kernel",
    "importlib_metadata",
    "keras",
    "numpy",
    "platformdirs",
    "pluggy",
    "psutil",
    "rich",
    "safetensors",
    "tomli_w",
    "torch",
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(KERNEL)))
def test_the_kernel_imports_its_dependencies_and_no_plugin(path):
    roots = {name.split(".")[0] for name in imports(path)}
    kit = path.is_relative_to(KERNEL / "testing")
    assert roots - set(sys.stdlib_module_names) <= OWN | ({"pytest"} if kit else set())


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.relative_to(KERNEL).parts[0] != "testing"],
    ids=lambda p: str(p.relative_to(KERNEL)),
)
def test_the_kernel_does_not_use_its_testing_kit(path):
    assert not [name for name in imports(path) if name.startswith("fs_kernel.testing")]


def test_no_decision_depends_on_the_name_of_a_plugin():
    """Names of built-in plugins are data: an index of packages, defaults of options."""
    names = {"original", "standard", "faces", "console", "preview"}
    for path in FILES:
        if path.relative_to(KERNEL).parts[0] == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                values = [c.value for c in node.comparators if isinstance(c, ast.Constant)]
                found = names & {v for v in values if isinstance(v, str)}
                assert not found, f"{path}:{node.lineno} compares with {found}"


@pytest.mark.parametrize(
    "code",
    [
        "import fs_kernel",
        "import fs_kernel.cli",
        "import fs_kernel, fs_kernel.cli.run",
        "import fs_kernel.hookspecs, fs_kernel.types, fs_kernel.options.sources",
        "import fs_kernel.plugins.discovery",
        "import fs_model_tools.model, fs_model_tools.models, fs_doctor.plugins, fs_config.commands",
        "import fs_swap.command, fs_swap.kinds, fs_doctor.examination",
        "import fs_kernel.plugins.roles, fs_kernel.storage.checkpoints",
        "import fs_kernel.storage.model_state, fs_kernel.storage.files",
        "import fs_kernel.testing, fs_kernel.testing.pytest_plugin, fs_kernel.testing.declarations",
        "from fs_kernel import hookimpl, option, Network",
    ],
)
def test_importing_is_light(code):
    program = f"import sys\n{code}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    roots = set(result.stdout.split())
    assert "fs_kernel" in roots
    assert not roots & {"torch", "keras", "cv2", "fs_nn"}


@pytest.mark.parametrize("below", ["", ".options", ".storage", ".networks", ".types"])
def test_everything_a_package_exports_is_there(below):
    package = importlib.import_module(f"fs_kernel{below}")
    assert package.__all__ != []
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense
