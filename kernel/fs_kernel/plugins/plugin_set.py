"""The plugins of one run, and how a loaded plugin gets its role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.options.store import OptionStore
from fs_kernel.plugins import roles
from fs_kernel.plugins.loading import LoadedPlugin, load
from fs_kernel.plugins.plugin import HostedPlugin, Plugin


def make_role(kind: str, loaded: LoadedPlugin, store: OptionStore | None = None) -> Any:
    """Return a loaded plugin behind the typed calls of its kind.

    Plugins of a kind that a package declares are `HostedPlugin`.
    """
    return roles.ROLES.get(kind, HostedPlugin)(loaded, store)


def load_role(kind: str, reference: Any, store: OptionStore | None = None) -> Any:
    """Load a plugin by name, path or object; return it behind the typed calls of its kind."""
    return make_role(kind, load(kind, reference), store)


@attrs.define
class RunPlugins:
    """The plugins of one run. Kinds that were not asked for are missing (``fs swap``).

    Raises:
        PluginError: one of them was chosen twice.
    """

    store: OptionStore
    all: list[Plugin]

    def __attrs_post_init__(self) -> None:
        names = [(plugin.kind, plugin.name) for plugin in self.all]
        for plugin in self.all:
            if names.count((plugin.kind, plugin.name)) > 1:
                raise PluginError(f"{plugin} was chosen twice", plugin.name)

    def one(self, kind: str) -> Any:
        """Return the one plugin of a kind."""
        return next(plugin for plugin in self.all if plugin.kind == kind)

    def every(self, kind: str) -> list[Any]:
        """Return the plugins of a kind."""
        return [plugin for plugin in self.all if plugin.kind == kind]

    @property
    def model(self) -> roles.Model:
        """The model."""
        return self.one("models")

    @property
    def trainer(self) -> roles.Trainer:
        """The trainer."""
        return self.one("trainers")

    @property
    def feed(self) -> roles.Feed:
        """The feed."""
        return self.one("feeds")

    @property
    def executor(self) -> roles.Executor:
        """The executor."""
        return self.one("executors")

    @property
    def addons(self) -> list[roles.AddOn]:
        """The add-ons, in order."""
        return self.every("addons")

    @property
    def objectives(self) -> list[roles.Objective]:
        """The objectives, in order."""
        return self.every("objectives")

    def config_defaults(self) -> dict[str, type]:
        """Return all option sections of these plugins.

        Raises:
            ConfigError: two plugins give different classes for one section.
        """
        return merged_sections(self.all)


def merged_sections(plugins: Sequence[Plugin]) -> dict[str, type]:
    """Return all option sections of some plugins.

    Raises:
        ConfigError: two plugins give different classes for one section.
    """
    sections: dict[str, type] = {}
    owner: dict[str, Plugin] = {}
    for plugin in plugins:
        for section, options in plugin.config_defaults().items():
            if section in sections and sections[section] is not options:
                raise ConfigError(
                    f"{owner[section]} and {plugin} give different options for [{section}]"
                )
            sections[section], owner[section] = options, plugin
    return sections
