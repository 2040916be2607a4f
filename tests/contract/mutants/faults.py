"""Make test classes of faulty plugins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import keras
import pytest
import torch


@pytest.fixture(autouse=True)
def tidy():
    """What one fault changes must not be found again in the next."""
    where = Path.cwd()
    yield
    os.chdir(where)
    os.environ.pop("FS_SPOILT", None)
    torch.set_default_dtype(torch.float32)
    keras.config.set_dtype_policy("float32")


def suite(base, breaks, plugin, **attributes):
    """Put a test class of a faulty plugin into the module that calls this.

    Args:
        base: the suite.
        breaks: the test that must find the fault.
        plugin: with one fault.
        attributes: of the class.
    """
    module = sys._getframe(1).f_globals
    name = f"Test_{len([n for n in module if n.startswith('Test_')]):02d}_{breaks}"
    attributes |= {
        "plugin": staticmethod(plugin),
        "breaks": breaks,
        "__module__": module["__name__"],
    }
    module[name] = type(name, (base,), attributes)
