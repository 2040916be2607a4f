"""Where a run's plugins come from: names, files, references, objects."""

from __future__ import annotations

import sys
import types

import pytest
from fake_packages import empty_plugin
from fs_kernel.errors import PluginError
from fs_kernel.plugins.loading import LoadedPlugin, blame, load
from fs_kernel.plugins.plugin_set import make_role
from fs_kernel.testing import TinyModel

# --- loading ---


def test_a_class_is_made_an_object_without_arguments():
    assert isinstance(load("models", TinyModel).plugin, TinyModel)


def test_a_class_that_cannot_be_made_is_blamed():
    class Wrong(TinyModel):
        def __init__(self, x):
            pass

    with pytest.raises(PluginError, match="'tiny' failed in its import: TypeError"):
        load("models", Wrong)


class Nameless:
    """An add-on without hooks."""


def test_an_object_goes_by_its_name_or_its_class():
    assert load("models", TinyModel()).name == "tiny"
    assert load("addons", Nameless()).name == "Nameless"
    assert load("models", types.ModuleType("some_module")).name == "some_module"


@pytest.mark.parametrize("absolute", [True, False])
def test_a_python_file(tmp_path, monkeypatch, absolute):
    (tmp_path / "my_net.py").write_text(empty_plugin("models"))
    monkeypatch.chdir(tmp_path)
    chosen = load("models", str(tmp_path / "my_net.py") if absolute else "./my_net.py")
    assert chosen.name == "my_net"
    make_role("models", chosen)
    assert chosen.identity()["distribution"] is None


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        ("import sys; sys.exit(7)", r"it called sys\.exit\(7\)"),
        ("raise BaseException('base')", "BaseException: base"),
    ],
)
def test_a_python_file_that_fails_is_blamed(tmp_path, code, says):
    file = tmp_path / "my_net.py"
    file.write_text(code)
    with pytest.raises(PluginError, match=f"model 'my_net' failed in its import: {says}"):
        load("models", file)


def test_a_missing_python_file(tmp_path):
    with pytest.raises(PluginError, match=r"there is no file .*x\.py"):
        load("models", tmp_path / "x.py")


def test_modules_and_objects_by_reference():
    assert load("models", "fs_kernel.testing:TinyModel").plugin.name == "tiny"
    assert load("models", "fs_kernel.testing.plugins:TinyModel").name == (
        "fs_kernel.testing.plugins:TinyModel"
    )
    assert load("addons", "fs_kernel.testing").plugin is sys.modules["fs_kernel.testing"]


@pytest.mark.parametrize(
    "reference",
    ["fs_kernel.nothing", "fs_kernel.testing:Nothing", "no.such", ":x", ".", "..", "a..b", "./net"],
)
def test_bad_references_are_one_line(reference):
    with pytest.raises(PluginError, match="failed in its import") as caught:
        load("models", reference)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reference", ["", "  ", "no-such"])
def test_bad_names_are_one_line(reference):
    with pytest.raises(PluginError, match="there is no model"):
        load("models", reference)


@pytest.mark.parametrize(("api", "says"), [(2, "upgrade fs-kernel"), (0, "upgrade the plugin")])
def test_another_api_is_refused_before_the_import(site, api, says):
    code = {"api_net": "raise RuntimeError('imported')"}
    site.install("fs-model-api", {"models": {"apinet": "api_net"}}, code, api=api)
    with pytest.raises(PluginError, match=f"plugin API {api}, this kernel speaks 1: {says}"):
        load("models", "apinet")
    assert "api_net" not in sys.modules


@pytest.mark.parametrize("version", [2, 0, "2", 1.5])
def test_an_object_may_declare_its_api_too(version):
    plugin = TinyModel()
    plugin.API_VERSION = version
    with pytest.raises(PluginError, match=f"plugin API {version}"):
        load("models", plugin)
    plugin.API_VERSION = 1
    assert load("models", plugin).plugin is plugin


def test_plain_callables_of_other_kinds_are_not_called(site):
    site.install(
        "fs-loss-x",
        {"losses": {"xloss": "xloss_code:Loss"}, "optimizers": {"xopt": "xloss_code:Loss"}},
        {"xloss_code": "class Loss:\n    def __init__(self, needed): pass\n"},
    )
    assert isinstance(load("losses", "xloss").plugin, type)
    assert isinstance(load("optimizers", "xopt").plugin, type)


def test_identity_is_what_a_checkpoint_remembers(site):
    code = {"ident_net": empty_plugin("models")}
    site.install("fs-model-i", {"models": {"inet": "ident_net"}}, code, version="4")
    assert load("models", "inet").identity() == {
        "name": "inet",
        "distribution": "fs-model-i",
        "version": "4",
        "api": 1,
    }


def test_blame_text_stands_alone():
    chosen = LoadedPlugin("models", "x", None)
    assert str(blame(chosen, "its import", KeyError("k"))) == (
        "model 'x' failed in its import: KeyError: 'k'"
    )
