"""The suites find what they are made to find: plugins with one fault each, run as authors do."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from fs_kernel.testing import suites

HERE = Path(__file__).parent
FAULTS = sorted((HERE / "mutants").glob("of_*.py"))
#: Tests without a faulty plugin, and where their failing is tried or why it is not.
UNTRIED = {
    "test_importing_changes_nothing": "tried below, it needs a module of its own",
    "test_it_runs_in_half_precision": "whatever breaks it breaks another test first",
    "test_the_seed_decides_the_training": "chance in a step is found by the resumed run",
    "test_it_accumulates": "no faulty accumulation here; the standard trainer runs it",
    "test_it_trains_in_half_precision": "the standard trainer runs it",
    "test_stored_older_folders_go_on": "tried in test_suites_models",
    "test_an_open_feed_says_what_it_has": "the facade demands most of it",
    "test_variants_change_no_batch": "the faces feed runs it",
    "test_batches_larger_than_the_folder": "an index out of range raises by itself",
    "test_closing_lets_go_of_everything": "the faces feed runs it",
    "test_faces_go_out_and_come_back": "the faces feed runs it",
    "test_flat_pictures_have_finite_gradients": "the roots are found by equal pictures",
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """``{class: (the test that must fail, its outcomes)}`` of one session over all faults."""
    report = tmp_path_factory.mktemp("mutants") / "report.xml"
    program = (
        "import importlib, sys, pytest\n"
        f"sys.path.insert(0, {str(HERE / 'mutants')!r})\n"
        "ids = []\n"
        f"for name in {[path.stem for path in FAULTS]!r}:\n"
        "    found = vars(importlib.import_module(name)).items()\n"
        f"    path = {str(HERE / 'mutants')!r} + f'/{{name}}.py'\n"
        "    ids += [f'{path}::{n}::{c.breaks}' for n, c in found if n.startswith('Test_')]\n"
        "sys.exit(pytest.main([*ids, '-q', '-p', 'no:cacheprovider', '--tb=line',"
        f" '--junitxml', {str(report)!r}]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert report.exists(), result.stdout[-3000:] + result.stderr[-3000:]
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = "::".join(case.get("classname").split(".")[-2:])
        outcomes.setdefault(name, []).append([child.tag for child in case])
    return outcomes


def mutants():
    """Return the names of the faulty classes, as the modules make them."""
    found = []
    for path in FAULTS:
        text = path.read_text("utf-8")
        named = re.findall(r"^suite\(\s*\w+,\s*\"(\w+)\"", text, re.MULTILINE)
        found += [f"{path.stem}::Test_{i:02d}_{name}" for i, name in enumerate(named)]
    return found


@pytest.mark.parametrize("name", mutants())
def test_a_fault_is_found(verdicts, name):
    outcomes = verdicts[name]
    assert any("failure" in tags or "error" in tags for tags in outcomes), outcomes


def test_every_test_of_the_suites_is_tried(verdicts):
    assert set(mutants()) == set(verdicts)
    tried = {re.sub(r"^\w+::Test_\d+_", "", name) for name in verdicts}
    there = {
        name
        for suite in map(suites.__dict__.get, suites.__all__)
        for name, _ in inspect.getmembers(suite, inspect.isfunction)
        if name.startswith("test_")
    }
    assert there - tried == set(UNTRIED)


FIVE_LINES = """
from fs_kernel.testing.suites import AddonSuite
import watcher
class TestWatcher(AddonSuite):
    plugin = watcher
"""


@pytest.mark.parametrize(
    ("head", "outcome"),
    [
        ("", "passed"),
        (
            "import os; os.chdir('/') if 'pytest' not in sys.modules else 0",
            "the import changed the working directory",
        ),
        ("sys.exit(3) if 'pytest' not in sys.modules else 0", "called sys.exit(3)"),
        ("WAIVED = {'test_hooks_fit': 'a reason to read'}", "waived: a reason to read"),
        ("WAIVED = {'test_hooks_fit': ''}", "gives no reason"),
        ("WAIVED = ['test_hooks_fit']", "WAIVED must be a dict"),
    ],
)
def test_an_authors_own_test_file(tmp_path, head, outcome):
    """Five lines, a package that is not ours, the plugin of pytest found by itself."""
    body = "@hookimpl\ndef create_addon():\n    return object()\n"
    (tmp_path / "watcher.py").write_text(
        f"import sys\nfrom fs_kernel import hookimpl\n{head}\n\n{body}"
    )
    (tmp_path / "test_watcher.py").write_text(FIVE_LINES)
    names = ["hooks_fit", "importing_changes_nothing", "waivers_have_a_reason"]
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"),
            *("test_watcher.py", "-k", " or ".join(names)),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome in result.stdout, result.stdout
    assert (" failed" in result.stdout) == (outcome not in ("passed", "waived: a reason to read"))
