"""docs/options.md holds every option of every built-in, and each is exercised by a test."""

from __future__ import annotations

import re

import options_page
import pytest
from fs_config.options_map import GONE, HERE
from fs_kernel.plugins import discovery
from mentions import mentions, source_of

ROWS = {row.name: row for row in options_page.rows()}
TEXT = options_page.PAGE.read_text(encoding="utf-8")


def written() -> dict[str, list[str]]:
    """The page's rows of options: ``{"section.option": cells}``."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in TEXT.splitlines()
        if re.match(r"\| `[\w.]+\.\w+` \|", line)
    ]
    return {row[0].strip("`"): row for row in cells if len(row) == 7}


def test_every_built_in_is_installed_here():
    here = {found.distribution for found in discovery.installed()}
    assert not options_page.built_in() - here, "pip install -r requirements.txt"


def test_every_option_has_a_row():
    assert list(written()) == list(ROWS)


def test_the_page_is_what_would_be_made_now():
    assert options_page.page() == TEXT, "run: python tests/docs/options_page.py"


def test_every_option_has_a_test_and_every_test_an_option():
    assert set(options_page.tests()) == set(ROWS)
    for name, cells in written().items():
        assert cells[6] == f"`{options_page.tests()[name]}`"


@pytest.mark.parametrize("name", ROWS)
def test_the_test_exists_and_is_about_the_option(name):
    test = options_page.tests()[name]
    source = source_of(test)
    assert source is not None, f"there is no test {test}"
    assert mentions(source, ROWS[name].option), f"{test} does not mention {ROWS[name].option}"


def test_every_option_of_the_reference_is_there_or_gone_for_a_reason():
    for section, options in options_page.reference().items():
        for option in options:
            if section.startswith("model."):
                assert f"{section}.{option}" in ROWS
            elif option in GONE.get(section, {}):
                assert f"| `[{section}] {option}` | {GONE[section][option]} |" in TEXT
            else:
                assert HERE[section][option] in ROWS


def test_every_option_the_page_speaks_of_exists():
    for _, here, note in options_page.COMMAND_LINE:
        for name in re.findall(r"`([a-z_.]+\.[a-z_]+)`", f"{here} {note}"):
            assert name in ROWS or name in options_page.sections(), name


def test_the_checks_see_what_is_wrong():
    assert source_of("unit/kernel/test_kernel_cli.py::test_nothing") is None
    assert source_of("unit/kernel/nothing.py::test_version") is None
    assert source_of("unit/kernel/test_kernel_cli.py::spoil") is None
    source = source_of("unit/kernel/test_kernel_cli.py::test_version")
    assert mentions(source, "run_cli"), "the fixture's source belongs to the test's"
    assert not mentions(source, "run_cl")
    assert not mentions(source, "batch_size")
