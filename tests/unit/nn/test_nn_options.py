"""Option classes: names, defaults and ranges users know, and what follows from them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fs_kernel.errors import ConfigError
from fs_kernel.options import CommandLineSource, options_of, resolve
from fs_nn.options import LossOptions, NetworkOptions, OptimizerOptions


def test_importing_the_package_and_its_options_is_light():
    code = "import sys, fs_nn, fs_nn.options; print({'torch', 'keras'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_every_option_has_help():
    for cls in (NetworkOptions, LossOptions, OptimizerOptions):
        assert all(info.help for _, info in options_of(cls).values())


def test_default_losses():
    options = LossOptions()
    assert options.functions == [("ssim", 1.0), ("mse", 1.0)]
    assert options.multipliers == {"eye": 3, "mouth": 2}
    assert options.masks == {"face", "eye", "mouth"}


def test_masks_follow_the_options():
    """Those of multipliers that are 1 are there too: they may be raised while training."""
    for multiplier in (1, 3):
        options = LossOptions(eye_multiplier=multiplier, mouth_multiplier=multiplier)
        assert options.masks == {"face", "eye", "mouth"}
    assert LossOptions(penalized_mask_loss=False).masks == set()


def test_the_main_loss_is_not_switched_off_by_a_name():
    """ "none" in the first slot is looked up like any name, so it fails as one nobody installed."""
    assert LossOptions(loss_function="none").functions[0] == ("none", 1.0)


@pytest.mark.parametrize(
    ("section", "cls", "key", "value"),
    [
        ("loss", LossOptions, "eye_multiplier", 0),
        ("loss", LossOptions, "mouth_multiplier", 41),
        ("loss", LossOptions, "loss_weight_2", 401),
        ("optimizer", OptimizerOptions, "learning_rate", 2e-4),
        ("optimizer", OptimizerOptions, "learning_rate", 5e-7),
        ("optimizer", OptimizerOptions, "epsilon_exponent", 1),
        ("optimizer", OptimizerOptions, "weight_decay", -0.1),
    ],
)
def test_ranges_are_enforced(section, cls, key, value):
    with pytest.raises(ConfigError, match=rf"{section}\.{key}"):
        resolve({section: cls}, [CommandLineSource("--set", {section: {key: value}})])


def test_what_belongs_to_the_model_is_fixed():
    def fixed(cls):
        return {name for name, (_, info) in options_of(cls).items() if info.fixed}

    assert fixed(NetworkOptions) == set(options_of(NetworkOptions))
    assert fixed(LossOptions) == {"penalized_mask_loss"}
    assert fixed(OptimizerOptions) == {"optimizer", "ada_beta_1", "ada_beta_2", "ada_amsgrad"}
