"""Every public name of faceswap has a row in docs/obligations.md, and what the rows name exists."""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path

import click
import pytest
from fs_kernel.cli import cli

ROOT = Path(__file__).resolve().parents[2]
IDS = ROOT / "tests" / "data" / "obligations" / "ids.txt"
SPEC = ROOT.parent / "shared" / "spec" / "obligations.md"
PAGE = (ROOT / "docs" / "obligations.md").read_text(encoding="utf-8")
STATES = ("here", "gone", "not yet")


def rows() -> dict[str, tuple[str, str]]:
    """``{id: (state, where)}``."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| S-")
    ]
    assert all(len(row) == 4 for row in cells), "a row has a | too many"
    found = {row[0]: (row[2], row[3]) for row in cells}
    assert len(found) == len(cells), "an id has two rows"
    return found


def names(text: str) -> list[str]:
    return [name for name in re.findall(r"`([^`]+)`", text) if name.startswith("fs_")]


def resolve(path: str) -> None:
    """Import ``path``; fields of typed classes count by their annotation.

    Raises:
        LookupError: there is no such thing.
    """
    parts = path.split(".")
    target = None
    for count in range(len(parts), 0, -1):
        try:
            target = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            # Something a module itself imports may be missing: that is another fault.
            if not path.startswith(str(error.name)):
                raise
            continue
        break
    if target is None:
        raise LookupError(f"{path}: no such module")
    for part in parts[count:]:
        if hasattr(target, part):
            target = getattr(target, part)
        elif part not in getattr(target, "__annotations__", {}):
            raise LookupError(f"{path}: {target} has no {part}")


def has_command(line: str) -> bool:
    command: click.Command | None = cli
    context = click.Context(cli)
    for word in line.split()[1:]:
        if not isinstance(command, click.Group):
            return False
        command = command.get_command(context, word)
    return command is not None


def test_every_id_of_the_list_has_a_row():
    assert list(rows()) == IDS.read_text().split()


@pytest.mark.skipif(not SPEC.exists(), reason="the list itself is not here")
def test_the_copied_ids_are_those_of_the_list():
    found = re.findall(r"^\| (S-\d+) \|", SPEC.read_text(encoding="utf-8"), re.MULTILINE)
    assert found == IDS.read_text().split()


def test_what_is_here_is_named_and_what_is_not_has_a_reason():
    for row, (state, where) in rows().items():
        assert state in STATES, row
        if state == "here":
            assert names(where), f"{row} names nothing"
        else:
            assert len(where.split()) > 1, f"{row} gives no reason"
        if state == "not yet":
            assert re.match(r"Issue \d+\.", where), f"{row} names no issue"


def test_the_page_counts_its_rows():
    states = [state for state, _ in rows().values()]
    counted = ", ".join(f"{states.count(state)} {state}" for state in STATES)
    assert f"\n{len(states)} names: {counted}.\n" in PAGE


@functools.cache
def all_names() -> list[str]:
    return sorted({name for _, where in rows().values() for name in names(where)})


def test_every_name_exists():
    missing = []
    for name in all_names():
        try:
            resolve(name)
        except LookupError as error:
            missing.append(str(error))
    assert not missing


def test_every_command_exists():
    lines = {line for _, where in rows().values() for line in re.findall(r"`(fs [a-z ]+)`", where)}
    assert len(lines) > 3
    assert not [line for line in sorted(lines) if not has_command(line)]


@pytest.mark.parametrize(
    "name", ["fs_kernel.nothing", "fs_kernel.types.Run.nothing", "fs_nothing.at_all"]
)
def test_a_name_that_does_not_exist_is_found(name):
    with pytest.raises(LookupError):
        resolve(name)


def test_a_command_that_does_not_exist_is_found():
    assert has_command("fs model info")
    assert not has_command("fs model nothing")
    assert not has_command("fs run nothing")
