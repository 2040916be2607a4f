"""Every built-in network runs the suite of networks, with few weights and a learnt mask."""

from __future__ import annotations

from pathlib import Path

import attrs
import fs_model_phaze_a
import pytest
from fake_packages import Site, forget
from fs_kernel import Config, PluginError, hookimpl
from fs_kernel.plugins import discovery
from fs_kernel.testing import TinyModel
from fs_kernel.testing.suites import ModelSuite
from fs_model_original.network import original
from shrunk import PHAZE_A, SMALL, Shrunk

OPTIONS = {"network.learn_mask": True}
#: Options that choose the architecture which the widths belong to.
CHOICES = {
    "dfl_sae-liae": {"model.dfl_sae.architecture": "liae"},
    "dlight-fast": {"model.dlight.details": "fast"},
    "unbalanced-lowmem": {"model.unbalanced.lowmem": True},
}


def suite(name, plugin, **attributes):
    """A test class, called after the network."""
    attributes = {"plugin": plugin, "options": OPTIONS, "__module__": __name__, **attributes}
    return type(f"Test_{name.replace('-', '_')}", (ModelSuite,), attributes)


for key, case in SMALL.items():
    made = Shrunk(f"fs_model_{case.plugin}", case.function.split(".")[1], case.size, case.widths)
    globals()[f"Test_{key}"] = suite(key, made, options=OPTIONS | CHOICES.get(key, {}))


class TestOriginal(ModelSuite):
    plugin = Shrunk(
        "fs_model_original",
        original.__name__,
        64,
        {"convs": (4, 4, 6, 6), "dense": 8, "bottleneck": 6, "shared": 8, "ups": (8, 6, 4)},
    )
    options = OPTIONS


class SmallPhazeA:
    """`phaze_a` with options below the smallest that users may write."""

    name = "phaze_a"
    WIDTHS = PHAZE_A

    def __init__(self):
        for hook in ("config_defaults", "freeze_layers", "load_layers", "custom_objects"):
            setattr(self, hook, getattr(fs_model_phaze_a, hook))

    def _small(self, config):
        section = fs_model_phaze_a.SECTION
        return Config({**config, section: attrs.evolve(config[section], **self.WIDTHS)})

    @hookimpl
    def network_spec(self, config):
        return fs_model_phaze_a.network_spec(self._small(config))

    @hookimpl
    def build_model(self, inputs, config):
        return fs_model_phaze_a.build_model(inputs, self._small(config))

    @hookimpl
    def adapt_model(self, network, before, after):
        return fs_model_phaze_a.adapt_model(network, self._small(before), self._small(after))


class TestPhazeA(ModelSuite):
    plugin = SmallPhazeA
    options = OPTIONS


FOLDER = Path(__file__).parents[1] / "data" / "older_folder"
TINY = """
from fs_kernel import hookimpl
from fs_kernel.testing import TinyModel

class Model(TinyModel):
    @hookimpl
    def migrate_options(self, section, values, version):
        {body}
"""


@pytest.fixture
def fs_tiny(tmp_path, monkeypatch):
    """Installs ``fs-tiny 1.0``, the successor of what made the folder, with a body of a hook."""
    packages = tmp_path / "site"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(packages))

    def install(body):
        entries = {"models": {"tiny": "successor_of_tiny:Model"}}
        code = {"successor_of_tiny": TINY.format(body=body)}
        Site(packages).install("fs-tiny", entries, code)

    yield install
    forget(packages)


class TestTiny(ModelSuite):
    plugin = TinyModel
    older = (FOLDER,)

    @pytest.fixture(autouse=True)
    def _installed(self, fs_tiny):
        fs_tiny("assert version == '0.9'")


def test_an_older_folder_that_does_not_go_on_is_found(fs_tiny, tmp_path):
    fs_tiny("raise ValueError('no way')")
    with pytest.raises(PluginError, match="failed in migrate_options"):
        TestTiny().test_stored_older_folders_go_on(tmp_path)


def test_no_built_in_network_is_left_out():
    ours = {f.name for f in discovery.installed("models") if f.distribution.startswith("fs-model-")}
    tested = {case.plugin for case in SMALL.values()} | {"original", "phaze_a"}
    assert ours == tested


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_the_choices_are_of_networks_that_are_tested(name):
    assert name in SMALL
