"""Plugins behind the typed calls of their kinds, with options at their defaults."""

from __future__ import annotations

import types

import attrs
from fs_kernel import Config, NetworkSpec, hookimpl, option
from fs_kernel.options import OptionStore
from fs_kernel.plugins.plugin_set import RunPlugins, load_role


def role(kind, plugin):
    """Return one plugin, its options at their defaults."""
    return run_of((kind, plugin)).all[0]


def run_of(*pairs):
    """Return the plugins of a run, their options at their defaults."""
    store = OptionStore()
    plugins = RunPlugins(store, [load_role(kind, plugin, store) for kind, plugin in pairs])
    store.replace(Config({name: cls() for name, cls in plugins.config_defaults().items()}))
    return plugins


SHORT = NetworkSpec({"a": (2, 2, 3)})


@attrs.frozen
class Own:
    x: int = option(1, "X.")


class Model:
    """A model plugin whose hooks can be replaced one by one."""

    name = "m"

    @hookimpl
    def config_defaults(self):
        return {"model.m": Own}

    @hookimpl
    def network_spec(self, config):
        return NetworkSpec({"a": (config["model.m"].x, 1, 3)})

    @hookimpl
    def build_model(self):
        return None


class Addon:
    @hookimpl
    def create_addon(self, run):
        return types.SimpleNamespace(observers=lambda: [run])
