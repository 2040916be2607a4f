"""Conformance suites: what the kernel expects of a plugin, as tests.

A plugin's test file::

    from fs_kernel.testing.suites import ModelSuite

    import my_package


    class TestMine(ModelSuite):
        plugin = my_package
        options = {"model.mine.width": 8}

Choose options that make the network small: every test runs on the CPU. What does not hold for a
plugin is waived with a reason, ``WAIVED = {"test_name": "why"}`` in the plugin itself. `HookSuite`
is for kinds that a package declares; name the kind: ``kind = "swap_filters"``.

Import this first: whatever imports Keras after it gets the torch backend.
"""

from fs_kernel import backend
from fs_kernel.testing.suites.addons import AddonSuite
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.suites.feeds import FeedSuite
from fs_kernel.testing.suites.losses import LossSuite
from fs_kernel.testing.suites.models import ModelSuite
from fs_kernel.testing.suites.objectives import ObjectiveSuite
from fs_kernel.testing.suites.optimizers import OptimizerSuite
from fs_kernel.testing.suites.trainers import TrainerSuite

backend.select_torch_backend()

__all__ = [
    "AddonSuite",
    "FeedSuite",
    "HookSuite",
    "LossSuite",
    "ModelSuite",
    "ObjectiveSuite",
    "OptimizerSuite",
    "TrainerSuite",
]
