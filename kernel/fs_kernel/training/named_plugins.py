"""Load the plugins that options of other plugins name: losses, optimizers and further kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fs_kernel.errors import ConfigError
from fs_kernel.options.defaults import KERNEL_SECTIONS
from fs_kernel.options.fields import options_of
from fs_kernel.options.resolution import winning_value
from fs_kernel.options.store import OptionStore
from fs_kernel.plugins import record
from fs_kernel.plugins.plugin import Plugin
from fs_kernel.plugins.plugin_set import load_role
from fs_kernel.training.option_sources import Sources


def add_named_plugins(
    classes: dict[str, type], sources: Sources, options: OptionStore
) -> dict[tuple[str, str], Plugin]:
    """Load the plugins that options of the chosen plugins name, and add their sections.

    They may name further ones in their turn. Local code that only the model folder names is not
    loaded: it is refused when a plugin asks for it.

    Args:
        classes: the sections of the chosen plugins; those of the named ones are added.
        sources: of the option values.
        options: the run's, which the named plugins share.

    Returns:
        The named plugins by kind and name.

    Raises:
        PluginError: one is not installed, or cannot be used.
        ConfigError: one gives a section that another plugin gives too.
    """
    named: dict[tuple[str, str], Plugin] = {}
    unread = [section for section in classes if section not in KERNEL_SECTIONS]
    while unread:
        section = unread.pop(0)
        unnamed = record.unnamed(sources.ordered, classes.values())
        for kind, reference in _references(section, classes, sources):
            if (kind, reference) in named or reference in unnamed:
                continue
            item = named[kind, reference] = load_role(kind, reference, options)
            for new, cls in item.config_defaults().items():
                if classes.setdefault(new, cls) is not cls:
                    raise ConfigError(
                        f"{item} and another plugin give different options for [{new}]"
                    )
                unread.append(new)
    return named


def _references(
    section: str,
    classes: Mapping[str, type],
    sources: Sources,
) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each plugin that the options of a section name."""
    for name, (_, info) in options_of(classes[section]).items():
        if info.plugin is not None:
            value, _ = winning_value(classes, sources.ordered, f"{section}.{name}", sources.renames)
            for reference in value if isinstance(value, list) else [value]:
                if reference not in (None, "", "none"):
                    yield info.plugin, reference
