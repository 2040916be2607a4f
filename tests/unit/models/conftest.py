"""Networks are built by the hundred here, each in a cleared session."""

from __future__ import annotations

import gc

import keras  # noqa: F401
import pytest


@pytest.fixture(autouse=True, scope="package")
def _quick_clearing():
    """Clearing a session collects garbage: let it pass over what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
