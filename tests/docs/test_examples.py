"""What the documentation shows is run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fs_kernel.cli import run_cli
from fs_synthetic import draw_people

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def in_folder(tmp_path):
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_the_python_api_page_runs(in_folder, capsys):
    scope: dict = {}
    for block in blocks("docs/python-api.md", "python"):
        exec(compile(block, "docs/python-api.md", "exec"), scope)
    printed = capsys.readouterr().out
    assert printed.startswith("60565126\n1 ")
    assert "(4, 64, 64, 3) None" in printed
    assert "did you mean 'keep'?" in printed
    assert "training.batch_size: 0 is below the smallest value 1" in printed
    assert len(list((in_folder / "swapped").iterdir())) == 25


#: Types several commands in one process, which imports torch and Keras once.
TYPE_ALL = """
import sys
from fs_kernel.cli import run_cli
for line in sys.argv[1:]:
    if code := run_cli(line.split()):
        sys.exit(f"fs {line} ended with {code}")
"""


def fresh(*command):
    """Run Python as a user does, whose environment says nothing of Keras."""
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_the_network_of_the_readme_trains_as_a_file(in_folder):
    network = next(b for b in blocks("README.md", "python") if "build_model" in b)
    (in_folder / "my_net.py").write_text(network)
    draw_people(in_folder, 25, 64, 1)
    fresh("-c", TYPE_ALL, "run -t ./my_net.py -A A -B B -m m -b2 -i2")
    assert (in_folder / "m" / "checkpoints" / "000000002").is_dir()


def test_the_network_of_the_guide_grows_step_by_step(in_folder):
    guide = (ROOT / "docs/plugin-guide.md").read_text(encoding="utf-8")
    steps = guide.partition("## A network from nothing")[2].partition("\n## ")[0]
    *parts, test = re.findall(r"^```python\n(.*?)^```", steps, re.MULTILINE | re.DOTALL)
    assert len(parts) == 5
    draw_people(in_folder, 25, 64, 1)
    net = in_folder / "my_net.py"
    begin = "run -t ./my_net.py -A A -B B -b2 -i2 --set training.addons=console"
    net.write_text("\n".join(parts[:3]))
    fresh("-c", TYPE_ALL, f"{begin} -m try", "swap try A out -t ./my_net.py")
    assert len(list((in_folder / "out").iterdir())) == 25
    net.write_text("\n".join(parts))
    wide = f"{begin} -m wide --set model.my_net.width=8 --freeze-weights"
    said = fresh("-c", TYPE_ALL, "run -t ./my_net.py -m try -i3", wide)
    assert "my_net.py has changed since" in said
    assert "this folder keeps the network it has" in said
    (in_folder / "test_my_net.py").write_text(test)
    fresh("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_net.py")


def test_the_entry_points_of_the_readme_are_what_the_kernel_reads():
    block = next(b for b in blocks("README.md", "toml") if "entry-points" in b)
    groups = tomllib.loads(block)["project"]["entry-points"]
    ours = (ROOT / "plugins_builtin/fs-model-original/pyproject.toml").read_text()
    assert set(groups) == set(tomllib.loads(ours)["project"]["entry-points"])


def test_every_command_of_the_readme_exists():
    text = (ROOT / "README.md").read_text()
    commands = {line.split()[1] for line in re.findall(r"^fs [a-z]+.*$", text, re.MULTILINE)}
    assert commands >= {"faces", "run", "swap"}
    for command in commands:
        assert run_cli([command, "--help"]) == 0


def test_every_link_between_pages_leads_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins_builtin/*/*.md")]
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing
