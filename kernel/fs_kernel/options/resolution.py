"""Resolve a run's options: the sources of their values, in rising order, over the defaults.

A component declares its options as an attrs class with `fs_kernel.options.option` fields and
returns it from ``config_defaults`` under a section name. A run's values come from the class's
defaults, the model folder (on resume), a TOML file, and ``--set`` or the Python API. Each source
says itself what happens to a value that cannot be used. All problems are reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from fs_kernel.errors import ConfigError
from fs_kernel.options.fields import (
    OptionInfo,
    options_of,
    replace_renamed,
    require_allowed,
    structure,
)
from fs_kernel.options.sources import Config, OptionSource, Renames, Report


class Resolution:
    """The options of a run while their sources are added, lowest first.

    Args:
        classes: the sections of the chosen components.
        ignored: sections of installed components that this run does not use.
        renames: sections and plugins that have new names.
    """

    def __init__(
        self,
        classes: Mapping[str, type],
        ignored: Iterable[str] = (),
        renames: Renames | None = None,
    ) -> None:
        self._classes = classes
        self._options = {section: options_of(cls) for section, cls in classes.items()}
        self._ignored = frozenset(ignored)
        self.renames = renames or Renames()
        self._values: dict[str, dict[str, Any]] = {section: {} for section in classes}
        self._of_model: dict[str, Any] = {}
        self._report = Report()
        #: Which source gave each value that is not a default, by "section.option".
        self.given: dict[str, OptionSource] = {}

    @property
    def notes(self) -> list[str]:
        """Return the lines that the user should read."""
        return self._report.notes

    def add(self, source: OptionSource) -> None:
        """Take the values of one more source, which win over those before."""
        source, notes = self.renames.apply(source)
        self.notes.extend(notes)
        for section, entries in source.values.items():
            if section in self._classes:
                self._add_section(source, section, entries)
            elif section in self._ignored:
                source.unused_section(self._report, section)
            else:
                source.unknown_section(self._report, section, self._classes)

    def _add_section(self, source: OptionSource, section: str, entries: Mapping[str, Any]) -> None:
        known = self._options[section]
        new_names = {old: key for key, (_, info) in known.items() for old in info.formerly}
        for written, value in entries.items():
            key = written if written in known else new_names.get(written)
            if key is None:
                source.unknown_option(self._report, f"{section}.{written}", value, known)
                continue
            if key != written:
                line = f"{source.name}: {section}.{written} is now {section}.{key}"
                self.notes.append(f"{line}, which is given too" if key in entries else line)
            if key == written or key not in entries:
                self._add_value(source, section, key, value)

    def _add_value(self, source: OptionSource, section: str, key: str, value: Any) -> None:
        name = f"{section}.{key}"
        annotation, info = self._options[section][key]
        if not source.takes(self._report, name, info):
            return
        try:
            checked = self._checked(source, name, value, annotation, info)
        except Exception as error:  # Converters of odd types raise errors of any kind.
            source.misfit(self._report, name, info, error)
            return
        self._report.unfit.pop(name, None)
        if info.fixed and source.of_model:
            self._of_model[name] = checked
        elif name in self._of_model and checked != self._of_model[name]:
            source.fixed(self._report, name, self._of_model[name], checked)
            return
        self._values[section][key] = checked
        self.given[name] = source

    def _checked(
        self, source: OptionSource, name: str, value: Any, annotation: Any, info: OptionInfo
    ) -> Any:
        new_names = {**self.renames.plugins.get(info.plugin or "", {}), **info.formerly_values}
        value, changed = replace_renamed(structure(value, annotation), new_names)
        if not source.bounded:
            info = attrs.evolve(info, minimum=None, maximum=None)
        require_allowed(value, info)
        self.notes.extend(f"{source.name}: {name}: '{a}' is now {b!r}" for a, b in changed)
        return value

    def value(self, section: str, option: str) -> Any:
        """Return what an option has so far: from a source, or its default."""
        values = self._values[section]
        return values[option] if option in values else getattr(self._classes[section](), option)

    def config(self) -> Config:
        """Return the options as the sources added so far have them.

        Raises:
            ConfigError: with one line per problem.
        """
        problems = [*self._report.problems, *self._report.unfit.values()]
        made: dict[str, Any] = {}
        for section, cls in self._classes.items():
            try:
                made[section] = cls(**self._values[section])
            except (ConfigError, ValueError) as error:
                problems.append(f"[{section}]: {error}")
        if problems:
            raise ConfigError(problems)
        return Config(made, {name: source.name for name, source in self.given.items()})


def resolve(
    classes: Mapping[str, type],
    sources: Iterable[OptionSource],
    ignored: Iterable[str] = (),
    renames: Renames | None = None,
) -> tuple[Config, list[str]]:
    """Return the configuration of a run, and lines the user should read.

    Args:
        classes: the sections of the chosen components.
        sources: lowest first.
        ignored: sections of installed components that this run does not use.
        renames: sections and plugins that have new names.

    Raises:
        ConfigError: with one line per problem.
    """
    resolution = Resolution(classes, ignored, renames)
    for source in sources:
        resolution.add(source)
    return resolution.config(), resolution.notes


def winning_value(
    classes: Mapping[str, type],
    sources: Iterable[OptionSource],
    name: str,
    renames: Renames | None = None,
) -> tuple[Any, OptionSource | None]:
    """Return what one option will have, and the source that gives it; None for its default.

    What does not fit is passed over: the resolution of all options reports it.

    Args:
        classes: with the option's section.
        sources: lowest first.
        name: "section.option".
        renames: sections and plugins that have new names.
    """
    section, _, key = name.rpartition(".")
    info = options_of(classes[section])[key][1]
    resolution = Resolution({section: classes[section]}, (), renames)
    for source in sources:
        current, _ = resolution.renames.apply(source)
        resolution.add(current.only(section, (key, *info.formerly)))
    return resolution.value(section, key), resolution.given.get(name)
