"""Every loss and optimizer of fs-nn runs the suite of its kind."""

from __future__ import annotations

import sys
from pathlib import Path

from fs_kernel.plugins import discovery
from fs_kernel.testing.suites import LossSuite, OptimizerSuite

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/nn"))

from test_nn_loss_lpips import CLASSES as LPIPS
from test_nn_loss_lpips import weights

#: The smallest pictures some losses can see; others are tried on 8 pixels.
GRADIENT_SIZE = {"ms_ssim": 33, "laploss": 32, "lpips_alex": 63, "lpips_squeeze": 49}
GRADIENT_SIZE["lpips_vgg16"] = 48


def made(name):
    """An lpips loss with drawn weights, which need no files."""
    return LPIPS[name](*reversed(weights(LPIPS[name])))


#: One module holds them all, and importing it in a process of its own takes seconds.
WAIVED = {"test_importing_changes_nothing": "tried with mae and adam"}


class _Lpips(LossSuite):
    def make(self):
        return made(self.plugin)


def loss_suite(name):
    base = _Lpips if name in LPIPS else LossSuite
    attributes = {
        "plugin": name,
        "gradient_size": GRADIENT_SIZE.get(name, 8),
        "waived": {} if name == "mae" else WAIVED,
    }
    return type(f"TestLoss_{name}", (base,), {**attributes, "__module__": __name__})


def optimizer_suite(name):
    waived = {} if name == "adam" else WAIVED
    attributes = {"plugin": name, "waived": waived, "__module__": __name__}
    if name == "lion":
        # Each of its steps is as long as the rate, so it ends within a few rates of the bottom.
        attributes |= {"lr": 0.01, "steps": 500, "settings": {"betas": (0.9, 0.99)}}
    return type(f"TestOptimizer_{name}", (OptimizerSuite,), attributes)


for found in discovery.installed():
    if found.distribution == "fs-nn":
        made_suite = {"losses": loss_suite, "optimizers": optimizer_suite}[found.kind](found.name)
        globals()[made_suite.__name__] = made_suite


def test_all_are_here():
    names = [name for name in globals() if name.startswith(("TestLoss_", "TestOptimizer_"))]
    assert len(names) == 15 + 7
