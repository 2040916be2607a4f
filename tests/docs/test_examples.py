"""What the documentation shows is run as it stands."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from fs_kernel.cli import run_cli

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


def test_the_network_of_the_readme_trains_as_a_file(in_folder):
    from fs_feed_faces.people import draw_people

    network = next(b for b in blocks("README.md", "python") if "build_model" in b)
    (in_folder / "my_net.py").write_text(network)
    draw_people(in_folder, 25, 128, 1)
    code = run_cli(["run", "-t", "./my_net.py", "-A", "A", "-B", "B", "-m", "m", "-b2", "-i2"])
    assert code == 0
    assert (in_folder / "m" / "checkpoints" / "000000002").is_dir()


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
