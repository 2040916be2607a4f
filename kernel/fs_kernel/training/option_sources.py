"""Hold the sources of a run's options, and load the plugins that options of plugins name."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

import attrs

from fs_kernel.errors import ConfigError
from fs_kernel.options import OptionSource, OptionStore, Renames, Resolution, options_of
from fs_kernel.options.defaults import KERNEL_SECTIONS
from fs_kernel.plugins import discovery, record
from fs_kernel.plugins.plugin import Plugin
from fs_kernel.plugins.plugin_set import RunPlugins, load_role


@attrs.frozen
class Sources:
    """The sources of a run's options, lowest first, and what has new names since they were written.

    Attributes:
        ordered: the sources.
        renames: what has new names.
    """

    ordered: list[OptionSource]
    renames: Renames

    def resolution(self, classes: Mapping[str, type], ignored: Container[str] = ()) -> Resolution:
        """Return the options of some sections with every source added."""
        resolution = Resolution(classes, ignored, self.renames)
        for source in self.ordered:
            resolution.add(source)
        return resolution


def installed_renames() -> Renames:
    """Return the new names of installed plugins and of the option sections named after them."""
    names = discovery.renamed()
    sections = {
        discovery.section_of(kind, old): discovery.section_of(kind, new)
        for kind, pairs in names.items()
        for old, new in pairs.items()
    }
    return Renames(sections, names)


def migrated(source: OptionSource, plugins: RunPlugins, remembered: record.Facts) -> OptionSource:
    """Return a source; that of the model folder has the options as the plugins of today know them.

    Args:
        source: one of the run's.
        plugins: the run's plugins.
        remembered: what the folder knows of the plugins that wrote its options.
    """
    if not source.of_model:
        return source
    values = dict(source.values)
    for item in plugins.all:
        was = remembered.get(record.key(item.loaded))
        if was is not None and record.upgraded(was, item.loaded):
            for section in (name for name in item.sections if name in values):
                version = was.get("version") or ""
                values[section] = item.migrate_options(section, values[section], version)
    return attrs.evolve(source, values=values)


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
        for kind, reference in _references(sources.resolution({section: classes[section]})):
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


def _references(resolution: Resolution) -> Iterator[tuple[str, Any]]:
    """Yield kind and name of each plugin that options name."""
    for section, cls in resolution.classes.items():
        for name, (_, info) in options_of(cls).items():
            value = resolution.value(section, name)
            for reference in value if isinstance(value, list) else [value]:
                if info.plugin is not None and reference not in (None, "", "none"):
                    yield info.plugin, reference
