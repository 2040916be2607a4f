"""Hold a run's options, read the sources of their values, and say what each does with misfits."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from fs_kernel.errors import ConfigError
from fs_kernel.options.fields import options_of, to_toml_value


@attrs.frozen(eq=False)
class Config(Mapping[str, Any]):
    """Option objects by section: ``config["training"].batch_size``. Read-only.

    Attributes:
        origins: where each value that is not a default came from, by "section.option".
    """

    _sections: Mapping[str, Any] = attrs.field(converter=dict)
    origins: Mapping[str, str] = attrs.field(factory=dict)

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


@attrs.frozen
class OptionSource:
    """One source of option values; `Resolution` says what happens to those that cannot be used.

    Attributes:
        name: what to call it in messages.
        values: ``{section: {option: value}}``, each value as a user would write it.
        of_model: whether the values are those of the model, so that its fixed options stand.
    """

    of_model: ClassVar[bool] = False

    name: str
    values: Mapping[str, Mapping[str, Any]]

    def only(self, section: str, options: Iterable[str]) -> OptionSource:
        """Return a source of the same kind with some options of one section."""
        given = self.values.get(section, {})
        return attrs.evolve(self, values={section: {k: given[k] for k in options if k in given}})


class CommandLineSource(OptionSource):
    """What a user typed, or a program gave, for this run: all of it is meant to count."""


class FileSource(OptionSource):
    """A TOML file, which several networks and models may share: not all of it need count."""


class ModelFolderSource(OptionSource):
    """The options a model was last trained with, by the plugins of that time."""

    of_model = True


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
