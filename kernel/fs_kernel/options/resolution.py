"""Resolve a run's options: the sources of their values, in rising order, over the defaults.

A component declares its options as an attrs class with `fs_kernel.options.option` fields and
returns it from ``config_defaults`` under a section name. A run's values come from the class's
defaults, the model folder (on resume), a TOML file, and ``--set`` or the Python API. Each source
says itself what happens to a value that cannot be used. All problems are reported at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from typing import Any

import attrs

from fs_kernel.errors import ConfigError
from fs_kernel.options.fields import (
    OptionInfo,
    check_value,
    nearest_name,
    options_of,
    to_toml_value,
)
from fs_kernel.options.sources import CommandLineSource, Config, FileSource, OptionSource, Renames


@attrs.define
class Resolution:
    """The options of a run while their sources are added, lowest first.

    What a model folder has and the plugins of today do not know or take is left out with a note,
    so that an old model opens. Ranges bind users, not what a program set while training.

    Attributes:
        classes: the sections of the chosen components.
        ignored: sections of installed components that this run does not use.
        renames: sections and plugins that have new names.
        notes: lines that the user should read.
        given: which source gave each value that is not a default, by "section.option".
    """

    classes: Mapping[str, type]
    ignored: Container[str] = ()
    renames: Renames = attrs.field(factory=Renames)
    notes: list[str] = attrs.field(init=False, factory=list)
    given: dict[str, OptionSource] = attrs.field(init=False, factory=dict)
    _values: dict[str, dict[str, Any]] = attrs.field(init=False, factory=lambda: defaultdict(dict))
    #: The fixed options that the model folder has.
    _fixed: set[str] = attrs.field(init=False, factory=set)
    _problems: list[str] = attrs.field(init=False, factory=list)
    #: Problems by option that a later source may still solve.
    _unfit: dict[str, str] = attrs.field(init=False, factory=dict)

    def add(self, source: OptionSource) -> None:
        """Take the values of one more source, which win over those before."""
        source, notes = self.renames.apply(source)
        self.notes += notes
        for section, entries in source.values.items():
            if section in self.classes:
                self._add_section(source, section, entries)
            elif section in self.ignored:
                if isinstance(source, CommandLineSource):
                    line = f"{source.name}: [{section}] belongs to nothing that this run uses"
                    self.notes.append(f"{line}; it changes nothing")
            elif not source.of_model:
                where = f"[{section}]" if section else f"'{next(iter(entries), '')}'"
                near = nearest_name(section, self.classes)
                self._problems.append(f"{source.name}: there is no section {where}{near}")

    def _add_section(self, source: OptionSource, section: str, entries: Mapping[str, Any]) -> None:
        known = options_of(self.classes[section])
        new_names = {old: key for key, (_, info) in known.items() for old in info.formerly}
        for written, value in entries.items():
            key = written if written in known else new_names.get(written)
            place = f"{source.name}: {section}.{written}"
            if key is None and source.of_model:
                self.notes.append(f"{place} = {value!r}: this option no longer exists")
            elif key is None:
                line = f"{source.name}: there is no option {section}.{written}"
                self._problems.append(line + nearest_name(written, known))
            else:
                if key != written:
                    also = ", which is given too" if key in entries else ""
                    self.notes.append(f"{place} is now {section}.{key}{also}")
                if key == written or key not in entries:
                    self._add_value(source, f"{section}.{key}", value, *known[key])

    def _add_value(
        self, source: OptionSource, name: str, value: Any, annotation: Any, info: OptionInfo
    ) -> None:
        section, _, key = name.rpartition(".")
        place = f"{source.name}: {name}"
        if source.of_model and info.machine_local:
            # Folders are copied between machines.
            line = f"{place} is not taken from a model folder"
            self.notes.append(f"{line}; set it in a file or with --set")
            return
        names = {**self.renames.plugins.get(info.plugin or "", {}), **info.formerly_values}
        allowed = attrs.evolve(info, formerly_values=names)
        renamed: list[tuple[str, Any]] = []
        try:
            value = check_value(value, annotation, allowed, not source.of_model, renamed)
        except Exception as error:  # Converters of odd types raise errors of any kind.
            if not source.of_model:
                self._problems.append(f"{place}: {error}")
            elif info.fixed:
                # Its default would be another network.
                self._unfit[name] = f"{place}: {error}; set it again with --set"
            else:
                self.notes.append(f"{place}: {error}; the default is used")
            return
        self.notes += [f"{place}: '{old}' is now {new!r}" for old, new in renamed]
        self._unfit.pop(name, None)
        if info.fixed and source.of_model:
            self._fixed.add(name)
        elif name in self._fixed and value != (kept := self._values[section][key]):
            line = f"{place} is fixed at {to_toml_value(kept)!r} in this model"
            if isinstance(source, FileSource):
                self.notes.append(f"{line}; {to_toml_value(value)!r} is not used")
            else:
                self._problems.append(f"{line}; a new value needs a new model folder")
            return
        self._values[section][key] = value
        self.given[name] = source

    def value(self, section: str, option: str) -> Any:
        """Return what an option has so far: from a source, or its default."""
        values = self._values[section]
        return values[option] if option in values else getattr(self.classes[section](), option)

    def config(self) -> Config:
        """Return the options as the sources added so far have them.

        Raises:
            ConfigError: with one line per problem.
        """
        problems = [*self._problems, *self._unfit.values()]
        made: dict[str, Any] = {}
        for section, cls in self.classes.items():
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
    ignored: Container[str] = (),
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
    resolution = Resolution(classes, ignored, renames or Renames())
    for source in sources:
        resolution.add(source)
    return resolution.config(), resolution.notes
