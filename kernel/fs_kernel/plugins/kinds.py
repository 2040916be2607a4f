"""Kinds of plugins: the kernel's own, and those that packages declare for plugins of theirs."""

from __future__ import annotations

import inspect
from typing import Any

import attrs

from fs_kernel.errors import PluginError
from fs_kernel.hookspecs import HOOKS_OF_KIND, PROJECT
from fs_kernel.plugins import discovery


@attrs.frozen
class Kind:
    """A kind of plugin. A package declares one by an entry point in ``fs_kernel.kinds``.

    Attributes:
        name: plural, as in the entry-point group ``fs_kernel.<name>``; the entry point has it too.
        hooks: classes whose methods, marked with `fs_kernel.hookspecs.hookspec`, are the hooks of
            the kind; those of every kind (``config_defaults``, ``migrate_options``) are added to
            them. Empty for plugins that are plain objects, such as commands.
        required: the hooks that a plugin must implement.
        example: source code of a small plugin that works, for ``fs new``.
    """

    name: str
    hooks: tuple[type, ...] = ()
    required: tuple[str, ...] = ()
    example: str = ""

    @property
    def word(self) -> str:
        """The word for one plugin of this kind, as messages use it."""
        return discovery.word_for(self.name)


def kind_of(name: str) -> Kind:
    """Return the kind of a name: the kernel's, or what an installed package declares.

    Raises:
        PluginError: no package declares it, two do, or what it declares cannot be used.
    """
    if name in HOOKS_OF_KIND:
        return Kind(name, *HOOKS_OF_KIND[name])
    if name in discovery.KINDS:
        return Kind(name)
    from fs_kernel.plugins.loading import load

    chosen = load("kinds", name)
    kind = chosen.plugin
    if not isinstance(kind, Kind) or kind.name != name:
        raise PluginError(f"{chosen} is not an fs_kernel.plugins.Kind named '{name}'", name)
    return kind


def has_hooks(name: str) -> bool:
    """Return whether plugins of a kind implement hooks; imports what declares the kind."""
    return bool(kind_of(name).hooks)


#: Kinds whose plugins may be plain callables and classes, without any hook.
PLAIN_KINDS = ("losses", "optimizers")


def marked(plugin: Any) -> bool:
    """Return whether a module, class or object has anything marked as a hook."""
    statics = (inspect.getattr_static(plugin, name, None) for name in dir(plugin))
    return any(hasattr(found, f"{PROJECT}_impl") for found in statics)
