"""Read the sources of a run's options, in the present spelling of their sections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from fs_kernel.options.sources import (
    CommandLineSource,
    FileSource,
    ModelFolderSource,
    OptionSource,
    Renames,
    read_toml,
)
from fs_kernel.plugins import discovery, record
from fs_kernel.plugins.plugin_set import RunPlugins


@attrs.frozen
class Sources:
    """The sources of a run's options, lowest first, and what has new names since they were written.

    Attributes:
        ordered: the sources; their sections have the new names.
        renames: what has new names.
        notes: a line for each section that had an old one.
    """

    ordered: tuple[OptionSource, ...]
    renames: Renames
    notes: list[str]


def read_sources(
    model_dir: Path,
    remembered: Path | None,
    config_file: Path | None,
    values: Mapping[str, Mapping[str, Any]],
) -> Sources:
    """Return the sources of a run's options.

    Args:
        model_dir: the model folder.
        remembered: the options of the checkpoint to resume from, if there is one.
        config_file: the user's file, if there is one.
        values: ``{section: {option: value}}`` from the command line or the API.

    Raises:
        ConfigError: a file cannot be read, or is not TOML.
    """
    sources: list[OptionSource] = []
    if remembered is not None:
        sources.append(ModelFolderSource(str(model_dir), read_toml(remembered)))
    if config_file is not None:
        sources.append(FileSource(str(config_file), read_toml(config_file)))
    sources.append(CommandLineSource("--set", values))
    renames = installed_renames()
    # Here, not in the resolution, because plugins migrate their sections before that.
    pairs = [renames.apply(source) for source in sources]
    notes = [line for _, lines in pairs for line in lines]
    return Sources(tuple(source for source, _ in pairs), renames, notes)


def installed_renames() -> Renames:
    """Return the new names of installed plugins and of the option sections named after them."""
    names = discovery.renamed()
    sections = {
        discovery.section_of(kind, old): discovery.section_of(kind, new)
        for kind, pairs in names.items()
        for old, new in pairs.items()
    }
    return Renames(sections, names)


def migrated(sources: Sources, plugins: RunPlugins, remembered: record.Facts) -> Sources:
    """Return the sources with the model folder's options as the plugins of today know them."""
    return attrs.evolve(
        sources,
        ordered=tuple(
            _migrated(source, plugins, remembered) if source.of_model else source
            for source in sources.ordered
        ),
    )


def _migrated(source: OptionSource, plugins: RunPlugins, remembered: record.Facts) -> OptionSource:
    values = dict(source.values)
    for item in plugins.all:
        was = remembered.get(record.key(item.loaded))
        if was is not None and record.upgraded(was, item.loaded):
            for section in (name for name in item.sections if name in values):
                version = was.get("version") or ""
                values[section] = item.migrate_options(section, values[section], version)
    return attrs.evolve(source, values=values)
