"""Hold a run's options, read the sources of their values, and say what each does with misfits."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from fs_kernel.errors import ConfigError
from fs_kernel.options.fields import OptionInfo, nearest_name, options_of, to_toml_value


class Config(Mapping[str, Any]):
    """Option objects by section: ``config["training"].batch_size``. Read-only."""

    def __init__(self, sections: Mapping[str, Any], origins: Mapping[str, str] | None = None):
        self._sections = dict(sections)
        #: Where each value that is not a default came from, by "section.option".
        self.origins = dict(origins or {})

    def __getitem__(self, section: str) -> Any:
        try:
            return self._sections[section]
        except KeyError:
            raise KeyError(
                f"section [{section}] is not in this view; return it from config_defaults "
                f"(there are: {', '.join(self._sections)})"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __len__(self) -> int:
        return len(self._sections)

    def view(self, sections: Iterable[str]) -> Config:
        """Return a configuration of the named sections only."""
        return Config({name: self._sections[name] for name in sections}, self.origins)

    def changed(self, section: str, option: str, value: Any, origin: str) -> Config:
        """Return a copy in which one option has another value, unchecked."""
        values = attrs.evolve(self._sections[section], **{option: value})
        origins = {**self.origins, f"{section}.{option}": origin}
        return Config({**self._sections, section: values}, origins)

    def as_dict(self, machine_local: bool = True) -> dict[str, dict[str, Any]]:
        """Return every option with its value, as TOML and JSON can hold it.

        Args:
            machine_local: with the options that a model folder may not hold.
        """
        return {
            section: {
                name: to_toml_value(getattr(values, name))
                for name, (_, info) in options_of(type(values)).items()
                if machine_local or not info.machine_local
            }
            for section, values in self._sections.items()
        }


@attrs.define
class Report:
    """What was found while sources were read.

    Attributes:
        problems: one line each; any of them makes the options unusable.
        unfit: problems by option that a later source may still solve.
        notes: lines the user should read.
    """

    problems: list[str] = attrs.field(factory=list)
    unfit: dict[str, str] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)


@attrs.frozen
class OptionSource:
    """One source of option values, and what happens to those that cannot be used.

    This class is strict: what does not fit is a problem. Subclasses say otherwise.

    Attributes:
        name: what to call it in messages.
        values: ``{section: {option: value}}``, each value as a user would write it.
    """

    #: Whether the options' ranges hold.
    bounded: ClassVar[bool] = True
    #: Whether the values are those of the model, so that its fixed options stand.
    of_model: ClassVar[bool] = False

    name: str
    values: Mapping[str, Mapping[str, Any]]

    def only(self, section: str, options: Iterable[str]) -> OptionSource:
        """Return a source of the same kind with some options of one section."""
        given = self.values.get(section, {})
        return attrs.evolve(self, values={section: {k: given[k] for k in options if k in given}})

    def unused_section(self, report: Report, section: str) -> None:
        """Handle a section of an installed component that this run does not use."""

    def unknown_section(self, report: Report, section: str, known: Iterable[str]) -> None:
        """Handle a section that no installed component has."""
        where = f"[{section}]" if section else f"'{next(iter(self.values[section]), '')}'"
        near = nearest_name(section, known)
        report.problems.append(f"{self.name}: there is no section {where}{near}")

    def unknown_option(self, report: Report, name: str, value: Any, known: Iterable[str]) -> None:
        """Handle an option that its section does not have."""
        near = nearest_name(name.rpartition(".")[2], known)
        report.problems.append(f"{self.name}: there is no option {name}{near}")

    def misfit(self, report: Report, name: str, info: OptionInfo, error: Exception) -> None:
        """Handle a value of a wrong type, out of range, or not among the choices."""
        report.problems.append(f"{self.name}: {name}: {error}")

    def fixed(self, report: Report, name: str, kept: Any, given: Any) -> None:
        """Handle a value that differs from the model's own, which cannot change."""
        line = f"{self.name}: {name} is fixed at {to_toml_value(kept)!r} in this model"
        report.problems.append(f"{line}; a new value needs a new model folder")

    def takes(self, report: Report, name: str, info: OptionInfo) -> bool:
        """Tell whether an option may come from here at all."""
        return True


class CommandLineSource(OptionSource):
    """What a user typed, or a program gave, for this run: all of it is meant to count."""

    def unused_section(self, report: Report, section: str) -> None:
        """Tell that it changes nothing."""
        line = f"{self.name}: [{section}] belongs to nothing that this run uses"
        report.notes.append(f"{line}; it changes nothing")


class FileSource(OptionSource):
    """A TOML file, which several networks and models may share."""

    def fixed(self, report: Report, name: str, kept: Any, given: Any) -> None:
        """Tell that the model's own value stands."""
        line = f"{self.name}: {name} is fixed at {to_toml_value(kept)!r} in this model"
        report.notes.append(f"{line}; {to_toml_value(given)!r} is not used")


class ModelFolderSource(OptionSource):
    """The options a model was last trained with, by the plugins of that time.

    Ranges bind users, not what a program set while training. What the plugins of today no longer
    know or take is left out with a note, so that an old model opens; only fixed options, without
    which it would be another network, must be set again.
    """

    bounded = False
    of_model = True

    def unknown_section(self, report: Report, section: str, known: Iterable[str]) -> None:
        """Pass over it: its plugin is not installed any more, or was renamed."""

    def unknown_option(self, report: Report, name: str, value: Any, known: Iterable[str]) -> None:
        """Tell that it is left out."""
        report.notes.append(f"{self.name}: {name} = {value!r}: this option no longer exists")

    def misfit(self, report: Report, name: str, info: OptionInfo, error: Exception) -> None:
        """Tell that the default is used; a fixed option must be given by a later source."""
        line = f"{self.name}: {name}: {error}"
        if info.fixed:
            report.unfit[name] = f"{line}; set it again with --set"
        else:
            report.notes.append(f"{line}; the default is used")

    def takes(self, report: Report, name: str, info: OptionInfo) -> bool:
        """Refuse, and tell, what belongs to a machine: folders are copied between them."""
        if info.machine_local:
            line = f"{self.name}: {name} is not taken from a model folder"
            report.notes.append(f"{line}; set it in a file or with --set")
        return not info.machine_local


@attrs.frozen
class Renames:
    """Sections and plugins that have new names.

    Attributes:
        sections: ``{old: new}``.
        plugins: ``{kind: {old: new}}``, for options that name plugins.
    """

    sections: Mapping[str, str] = attrs.field(factory=dict)
    plugins: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)

    def apply(self, source: OptionSource) -> tuple[OptionSource, list[str]]:
        """Return a source with the new names of its sections, and a line for each that changed.

        Where a source gives an option under both names, the new one counts.
        """
        values: dict[str, Mapping[str, Any]] = dict(source.values)
        notes = []
        for old in [section for section in values if section in self.sections]:
            new = self.sections[old]
            values[new] = {**values.pop(old), **values.get(new, {})}
            notes.append(f"{source.name}: [{old}] is now [{new}]")
        return attrs.evolve(source, values=values), notes


def read_toml(path: Path) -> dict[str, dict[str, Any]]:
    """Return a TOML file's sections; nested tables are joined with dots (``[model.original]``).

    Raises:
        ConfigError: the file is missing, or not TOML.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    sections: dict[str, dict[str, Any]] = {}

    def walk(prefix: str, table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(f"{prefix}.{key}" if prefix else key, value)
            else:
                sections.setdefault(prefix, {})[key] = value

    walk("", data)
    return sections


def parse_assignment(text: str) -> tuple[str, str, Any]:
    """Read ``section.option=value``; the value is TOML if it can be, else text.

    Raises:
        ConfigError: there is no ``=`` or no dot.
    """
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().rpartition(".")
    if not equals or not dot:
        raise ConfigError(f"--set {text}: write section.option=value")
    try:
        parsed = tomllib.loads(f"x = {value}")
        return section, key, parsed["x"] if len(parsed) == 1 else value
    except (ValueError, RecursionError):
        return section, key, value.strip()


def assignments(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return ``section.option=value`` lines of a command as ``{section: {option: value}}``."""
    values: dict[str, dict[str, Any]] = {}
    for line in lines:
        section, key, value = parse_assignment(line)
        values.setdefault(section, {})[key] = value
    return values
