"""One plugin behind the hooks of its kind: checked when taken in, blamed for what it raises.

Each plugin has a `pluggy.PluginManager` of its own with only its kind's hooks, so that a call
reaches this plugin and nothing else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import pluggy

from fs_kernel.errors import PluginError
from fs_kernel.hookspecs import PROJECT, CommonHooks
from fs_kernel.options.fields import nearest_name, options_of
from fs_kernel.options.sources import Config
from fs_kernel.options.store import OptionStore
from fs_kernel.plugins.loading import LoadedPlugin, blame, implements_hooks, kind_of


class Plugin:
    """A plugin in use.

    Args:
        loaded: the plugin object and where it came from.
        store: the options of the run; an empty one of its own if None.

    Attributes:
        kind: the kind of its hooks.
        loaded: the plugin object and where it came from.
        store: the options of the run.
        sections: the option sections it declared, once `config_defaults` was called.

    Raises:
        PluginError: it does not fit the hooks of its kind.
    """

    kind: str = ""

    def __init__(self, loaded: LoadedPlugin, store: OptionStore | None = None) -> None:
        self.loaded = loaded
        self.store = OptionStore() if store is None else store
        self.sections: tuple[str, ...] = ()
        # Without one it is a plain callable.
        hooked = implements_hooks(self.kind, loaded.plugin)
        self._manager = self._register() if hooked else None

    @property
    def name(self) -> str:
        """The name it goes by."""
        return self.loaded.name

    @property
    def config(self) -> Config:
        """The sections it declared, as they are now."""
        return self.store.config.view(self.sections)

    def __str__(self) -> str:
        return str(self.loaded)

    def hooks(self) -> list[str]:
        """Return the names of the hooks it implements, sorted."""
        callers = self._manager.get_hookcallers(self.loaded.plugin) if self._manager else None
        return sorted(caller.name for caller in callers or ())

    def config_defaults(self) -> dict[str, type]:
        """Return its option sections, and remember their names."""
        given = self._call_expecting(dict, "config_defaults", default={})
        with self.blaming("config_defaults"):
            for section, options in given.items():
                options_of(options)
                options()
                section.strip()
        self.sections = tuple(given)
        return given

    def required_fields(self) -> frozenset[str]:
        """Return what each batch must hold; nothing for kinds without that hook."""
        return frozenset(self._call("required_fields") or ())

    def migrate_options(
        self, section: str, values: Mapping[str, Any], version: str
    ) -> dict[str, Any]:
        """Return the stored options of an older version as this one knows them."""
        stored = {"section": section, "values": dict(values), "version": version}
        return self._call_expecting(dict, "migrate_options", default=dict(values), **stored)

    # --- calling it ---

    def blaming(self, what: str) -> AbstractContextManager[None]:
        """Attribute exceptions raised in the block to the plugin, except what is not its fault."""
        return self.loaded.blaming(what)

    def _call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook, with ``config`` if it takes that; None if the plugin's kind lacks it."""
        caller = getattr(self._manager.hook, hook, None) if self._manager else None
        if caller is None:
            return None
        if "config" in caller.spec.argnames:
            arguments.setdefault("config", self.config)
        with self.blaming(hook):
            return caller(**arguments)

    def _call_expecting(
        self, wanted: type | str, hook: str, default: Any = None, **arguments: Any
    ) -> Any:
        """Call a hook whose result must be of a type, or have all the attributes named.

        ``default`` stands for None, where the hook may return that.
        """
        result = self._call(hook, **arguments)
        if result is None and default is not None:
            return default
        return self.expect(result, wanted, hook)

    def expect(self, result: Any, wanted: type | str, hook: str) -> Any:
        """Return a result of the plugin if it is of a type or has all the attributes named.

        Raises:
            PluginError: it does not fit.
        """
        if isinstance(wanted, type):
            fits, word = isinstance(result, wanted), wanted.__name__
        else:
            fits, word = all(hasattr(result, n) for n in wanted.split()), f"what has: {wanted}"
        if not fits:
            got = type(result).__name__
            raise PluginError(f"{self} returned {got} from {hook}, not {word}", self.name)
        return result

    # --- taking it in ---

    def _register(self) -> pluggy.PluginManager:
        plugin, kind = self.loaded.plugin, kind_of(self.kind)
        specs = (CommonHooks, *kind.hooks)
        manager = pluggy.PluginManager(PROJECT)
        for namespace in specs:
            manager.add_hookspecs(namespace)
        if plugin.__hash__ is None:
            raise PluginError(f"{self} is not hashable; define its class with eq=False", self.name)
        try:
            manager.register(plugin)
        except pluggy.PluginValidationError as error:
            line = _misfit(str(error), specs)
            raise PluginError(f"{self} does not fit the hooks: {line}", self.name) from error
        except Exception as error:
            raise blame(self.loaded, "the reading of its hooks", error) from error
        found = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
        allowed = {name for namespace in specs for name in hook_names(namespace)}
        if wrong := sorted(found - allowed):
            article = "an" if kind.word[0] in "aeiou" else "a"
            near = nearest_name(wrong[0], allowed)
            line = f"{self}: '{wrong[0]}' is not a hook of {article} {kind.word}{near}"
            raise PluginError(line, self.name)
        if missing := [name for name in kind.required if name not in found]:
            raise PluginError(
                f"{self} lacks the hook{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
                "(is each marked with @fs_kernel.hookimpl?)",
                self.name,
            )
        return manager


class HostedPlugin(Plugin):
    """A plugin of a kind that a package declares; that package calls it by its hooks' names."""

    def __init__(self, loaded: LoadedPlugin, store: OptionStore | None = None) -> None:
        self.kind = loaded.kind
        super().__init__(loaded, store)

    def call(self, hook: str, **arguments: Any) -> Any:
        """Return what a hook returns, None if the plugin lacks it; its failures name the plugin."""
        return self._call(hook, **arguments)


def hook_names(specs: type) -> list[str]:
    """Return the names of the hooks in a class of specifications."""
    return [name for name in dir(specs) if not name.startswith("_")]


def _misfit(text: str, specs: tuple[type, ...]) -> str:
    """Say what is wrong with a hook's arguments, out of what pluggy says of it."""
    hook, given = re.search(r"for hook '(\w+)'", text), re.search(r"Argument\(s\) {(.+?)}", text)
    found = next((getattr(s, hook[1]) for s in specs if hook and hasattr(s, hook[1])), None)
    if found is None or given is None or hook is None:
        return text.strip().splitlines()[-1].strip()
    known = list(inspect.signature(found).parameters)[1:]
    wanted = f"it may take {', '.join(known)}" if known else "it takes none"
    return f"{hook[1]} has no argument {given[1]}; {wanted}"
