"""What all suites share: naming the plugin, waiving a test, and the checks of every plugin."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

import pytest

from fs_kernel.options import OptionInfo, check_value, options_of, to_toml_value
from fs_kernel.plugins import discovery
from fs_kernel.plugins.loading import LoadedPlugin, kind_of, load
from fs_kernel.plugins.plugin_set import make_role
from fs_kernel.testing.declarations import unmarked_hooks, waivers
from fs_kernel.testing.parts import make_plugin

_IMPORT = """
import importlib, os, sys
os.environ["KERAS_BACKEND"] = "torch"
import fs_kernel.testing.plugins
from fs_kernel.testing.world import nobody_leaves, unchanged
with nobody_leaves("the import"), unchanged("the import", imports=True):
    importlib.import_module(sys.argv[1])
"""


class Suite:
    """What every suite knows of its plugin.

    Attributes:
        kind: the kind of plugin.
        plugin: the plugin: its object, an installed name, ``"package.module"`` or a path.
        waived: tests that do not hold for it, by name, with the reason. They are skipped. A plugin
            states its own as ``WAIVED`` (a dict of the same form), where ``fs plugins doctor``
            shows them; this one is for plugins that are not yours to change.
    """

    kind: ClassVar[str]
    plugin: ClassVar[Any]
    waived: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def given(cls) -> Any:
        """Return the plugin as the test file names it."""
        # A function would become a method if it were read through the class.
        value = inspect.getattr_static(cls, "plugin")
        return value.__func__ if isinstance(value, staticmethod) else value

    @classmethod
    def chosen(cls) -> LoadedPlugin:
        """Return the plugin, imported and, if it is a class with hooks, made."""
        return load(cls.kind, cls.given())

    @classmethod
    def waivers(cls) -> dict[str, str]:
        """Return tests that do not hold, with the reason: the plugin's and the test file's."""
        return {**waivers(cls.chosen().plugin), **cls.waived}

    @pytest.fixture(autouse=True)
    def _waive(self, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if name != "test_waivers_have_a_reason" and name in (waivers := self.waivers()):
            pytest.skip(f"waived: {waivers[name]}")

    def test_waivers_have_a_reason(self) -> None:
        """What is waived is a test of this suite, and there is a reason."""
        for name, reason in self.waivers().items():
            assert callable(getattr(self, name, None)), f"there is no test '{name}' to waive"
            assert isinstance(reason, str), f"the waiver of {name} gives no reason"
            assert reason.strip(), f"the waiver of {name} gives no reason"


class HookSuite(Suite):
    """What holds for every plugin with hooks.

    Attributes:
        options: option values to test with: ``{"model.mine.width": 8}``.
    """

    options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def role(cls, **more: Any) -> Any:
        """Return the plugin behind its typed calls, with ``options`` and ``more``."""
        return make_plugin(cls.kind, cls.given(), {**cls.options, **more})

    def test_importing_changes_nothing(self) -> None:
        """Importing the plugin's module neither ends the process nor changes settings of it."""
        plugin = self.given()
        module = plugin if isinstance(plugin, ModuleType) else inspect.getmodule(plugin)
        if isinstance(plugin, str) and not plugin.endswith(".py"):
            module = inspect.getmodule(self.chosen().plugin)
        if module is None or module.__name__.split(".")[-1].startswith(("test_", "conftest")):
            pytest.skip("the plugin is part of the test itself")
        if not module.__spec__ or module.__name__.startswith("fs_local_"):
            pytest.skip("the plugin is a file, not an importable module")
        result = subprocess.run(
            [sys.executable, "-c", _IMPORT, module.__name__], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr[-2000:]

    def test_hooks_fit(self) -> None:
        """Every hook exists for this kind, has the right arguments, and none is forgotten."""
        chosen = self.chosen()
        make_role(self.kind, chosen)
        unmarked = [
            name for s in kind_of(self.kind).hooks for name in unmarked_hooks(chosen.plugin, s)
        ]
        assert not unmarked, f"not marked with @hookimpl: {', '.join(unmarked)}"

    def test_sections_are_the_plugins_own(self) -> None:
        """A section of its own is called ``<kind>.<name>``."""
        word = discovery.singular(self.kind)
        for section in self.role().config:
            prefix, dot, _ = section.partition(".")
            assert not dot or prefix == word, f"[{section}] should be [{word}.<name>] or shared"

    def test_options_explain_themselves(self) -> None:
        """Every option has a help text, and every number a smallest and a largest value."""
        for name, _, value, info in self._options():
            assert info.help.strip(), f"{name} has no help"
            assert info.help.strip()[-1] in ".!?", f"the help of {name} is not a sentence"
            if isinstance(value, int | float) and not isinstance(value, bool):
                bounded = info.minimum is not None and info.maximum is not None
                assert bounded or info.choices, f"{name} has no minimum and maximum"
            if info.minimum is not None and info.maximum is not None:
                assert info.minimum < info.maximum, f"{name}: its range is empty"

    def test_defaults_are_values_a_user_could_write(self) -> None:
        """Every default passes the check of its own option, and comes back the same."""
        for name, annotation, value, info in self._options():
            try:
                read = check_value(to_toml_value(value), annotation, info)
            except ValueError as error:
                raise AssertionError(f"the default of {name} does not fit: {error}") from error
            assert read == value, f"{name}: {value!r} is read back as {read!r}"

    def _options(self) -> list[tuple[str, Any, Any, OptionInfo]]:
        """Return ``(name, type, default, what is known)`` of every option."""
        found = []
        for section, cls in make_plugin(self.kind, self.given()).config_defaults().items():
            default = cls()
            found += [
                (f"{section}.{key}", annotation, getattr(default, key), info)
                for key, (annotation, info) in options_of(cls).items()
            ]
        return found
