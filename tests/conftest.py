"""Shared by all tests: the Keras backend, quiet threads, and seconds per directory.

Every directory of tests has a budget of seconds on two cores; the sums are printed at the end, and
a directory over its budget is named. Timings never fail a test.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from machines import dependencies, full_machine, new_machine, people, wheels

__all__ = ["dependencies", "full_machine", "new_machine", "people", "wheels"]

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Faces are cached per user; what tests make goes away with them. What pip has got stays.
_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
if sys.platform == "linux":
    os.environ.setdefault("PIP_CACHE_DIR", str(_home / "pip"))
_caches = tempfile.TemporaryDirectory(prefix="fs-test-caches-", ignore_cleanup_errors=True)
os.environ["XDG_CACHE_HOME"] = _caches.name

ROOT = Path(__file__).resolve().parent
SHARED = ROOT.parent.parent / "shared"
BUDGETS = {
    "unit": 420,
    "contract": 180,
    "broken_plugins": 60,
    "docs": 120,
    "torture": 60,
    "template": 240,
    "e2e": 420,
}
_seconds: dict[str, float] = defaultdict(float)


@pytest.fixture(scope="session")
def shared_faces() -> Path:
    """The real faces beside the checkout, where they are."""
    folder = SHARED / "data" / "faces"
    if not folder.is_dir():
        pytest.skip("no real faces beside this checkout")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: i for i, name in enumerate(BUDGETS)}
    items.sort(key=lambda item: order.get(item.path.relative_to(ROOT).parts[0], len(order)))


def pytest_collection_finish() -> None:
    # Keras collects garbage each time a session is cleared, that is for every network built. Let it
    # pass over all that is imported by now, which takes longer than building a small network.
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # Not its location: the tests of a suite lie in the kernel.
    _seconds[Path(report.nodeid.partition("::")[0]).parts[1]] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("seconds per directory (budget)")
    for name, spent in _seconds.items():
        budget = BUDGETS.get(name)
        note = "  OVER BUDGET" if budget is not None and spent > budget else ""
        terminalreporter.write_line(f"{name:16} {spent:7.1f} ({budget}){note}")
