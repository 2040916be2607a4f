"""A run's options: the layers that set them, and the checks of all of them at once.

A component declares its options as an attrs class with `fs_kernel.option` fields and returns it
from ``config_defaults`` under a section name. A run's values come from, in rising order: the
class's defaults, the model folder (on resume), a TOML file, and ``--set`` or the Python API.
Everything wrong is reported at once, unknown names with the nearest known one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from fs_kernel.errors import ConfigError
from fs_kernel.options.fields import check, nearest_name, options_of, plain


class Config(Mapping[str, Any]):
    """Option objects by section: ``config["training"].batch_size``. Read-only."""

    def __init__(self, sections: Mapping[str, Any], origins: Mapping[str, str] | None = None):
        self._sections = dict(sections)
        #: Where each value that is no default came from, by "section.option".
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
        """Only the named sections."""
        return Config({name: self._sections[name] for name in sections}, self.origins)

    def changed(self, section: str, option: str, value: Any, origin: str) -> Config:
        """A copy in which one option has another value, unchecked."""
        values = attrs.evolve(self._sections[section], **{option: value})
        origins = {**self.origins, f"{section}.{option}": origin}
        return Config({**self._sections, section: values}, origins)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Every option with its value, as TOML and JSON can hold it."""
        return {
            section: {f.name: plain(getattr(values, f.name)) for f in attrs.fields(type(values))}
            for section, values in self._sections.items()
        }


@attrs.frozen
class Layer:
    """One source of values: ``values[section][option]``, and the words to blame it with.

    ``kind`` "model" marks the model folder's own values: they are taken as they are, and their
    fixed options win; what the plugins of today do not know or take any more is passed over with a
    warning, but for fixed options that nobody sets anew. "file" values that contradict a fixed
    option are passed over with a warning; "set" values that do are an error.
    """

    name: str
    values: Mapping[str, Mapping[str, Any]]
    kind: Literal["model", "file", "set"] = "set"


def read_toml(path: Path) -> dict[str, dict[str, Any]]:
    """Sections of a TOML file, nested tables joined with dots (``[model.original]``).

    Raises:
        ConfigError: the file is missing or is no TOML.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from None
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


def resolve(
    classes: Mapping[str, type], layers: Iterable[Layer], ignored: Iterable[str] = ()
) -> tuple[Config, list[str]]:
    """Apply layers in order over the classes' defaults.

    Args:
        classes: the sections of the chosen components.
        layers: lowest first.
        ignored: sections of installed components that this run does not use.

    Returns:
        The configuration, and lines the user should read.

    Raises:
        ConfigError: with one line per problem.
    """
    ignored = set(ignored)
    values: dict[str, dict[str, Any]] = {section: {} for section in classes}
    origins: dict[str, str] = {}
    problems: list[str] = []
    warnings: list[str] = []
    of_model: dict[str, Any] = {}
    unfit: dict[str, str] = {}
    for layer in layers:
        for section, entries in layer.values.items():
            if section not in classes:
                if section in ignored and layer.kind == "set":
                    line = f"{layer.name}: [{section}] belongs to nothing that this run uses"
                    warnings.append(f"{line}; it changes nothing")
                elif section not in ignored and layer.kind != "model":
                    where = f"[{section}]" if section else f"'{next(iter(entries))}'"
                    near = nearest_name(section, classes)
                    problems.append(f"{layer.name}: there is no section {where}{near}")
                continue
            known = options_of(classes[section])
            for key, value in entries.items():
                name = f"{section}.{key}"
                if key not in known:
                    if layer.kind == "model":
                        warnings.append(f"{layer.name}: {name} = {value!r} is no option any more")
                    else:
                        near = nearest_name(key, known)
                        problems.append(f"{layer.name}: there is no option {name}{near}")
                    continue
                annotation, info = known[key]
                if layer.kind == "model":
                    # Ranges bind users, not what a program set while training.
                    info = attrs.evolve(info, minimum=None, maximum=None)
                try:
                    checked = check(value, annotation, info)
                except Exception as error:
                    line = f"{layer.name}: {name}: {error}"
                    if layer.kind != "model":
                        problems.append(line)
                    elif info.fixed:
                        unfit[name] = f"{line}; set it anew with --set"
                    else:
                        warnings.append(f"{line}; the default is used")
                    continue
                unfit.pop(name, None)
                if layer.kind == "model" and info.fixed:
                    of_model[name] = checked
                elif info.fixed and name in of_model and checked != of_model[name]:
                    line = (
                        f"{layer.name}: {name} is fixed at {plain(of_model[name])!r} in this model"
                    )
                    if layer.kind == "set":
                        problems.append(f"{line}; a new value needs a new model folder")
                    else:
                        warnings.append(f"{line}; {plain(checked)!r} is not used")
                    continue
                values[section][key] = checked
                origins[name] = layer.name
    problems += unfit.values()
    made: dict[str, Any] = {}
    for section, cls in classes.items():
        try:
            made[section] = cls(**values[section])
        except (ConfigError, ValueError) as error:
            problems.append(f"[{section}]: {error}")
    if problems:
        raise ConfigError(problems)
    return Config(made, origins), warnings
