"""Options: classes that travel with their component, and the layers that set them.

A component declares its options as an attrs class with `option` fields and returns it from
``config_defaults`` under a section name. A run's values come from, in rising order: the class's
defaults, the model folder (on resume), a TOML file, and ``--set`` or the Python API. Everything
wrong is reported at once, unknown names with the nearest known one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import attrs
import cattrs

from fs_kernel.errors import ConfigError, UsageError

_METADATA = "fs_kernel.option"


@attrs.frozen
class OptionInfo:
    """What is known of an option besides its type and default."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] | None = None
    fixed: bool = False


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Iterable[Any] | None = None,
    fixed: bool = False,
) -> Any:
    """A field of an option class.

    Args:
        default: the value when nobody sets one; lists are copied per instance.
        help: one or two sentences for the user, with the unit.
        minimum: smallest value a user may write, inclusive.
        maximum: largest value a user may write, inclusive.
        choices: the only values a user may write.
        fixed: the value belongs to the model: set when its folder is made, never changed after.
    """
    info = OptionInfo(help, minimum, maximum, tuple(choices) if choices else None, fixed)
    extra: dict[str, Any]
    if isinstance(default, list):
        extra = {"factory": lambda: list(default)}
    else:
        extra = {"default": default}
    return attrs.field(metadata={_METADATA: info}, kw_only=True, **extra)


def options_of(cls: type) -> dict[str, tuple[Any, OptionInfo]]:
    """``{name: (type, OptionInfo)}`` of an option class, in the order it was written."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: (hints[field.name], field.metadata.get(_METADATA) or OptionInfo(""))
        for field in attrs.fields(cls)
    }


# --- values --------------------------------------------------------------------------------------

_INTERVAL = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(it|its|steps|s|sec|m|min|h|hours|d)?\s*$")
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?\s*$", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hours": 3600, "d": 86400}


@attrs.frozen
class Interval:
    """Every so many steps, or every so many seconds; exactly one is set, or neither for never."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, value: Any) -> Interval:
        """Read ``250``, ``"250it"``, ``"90s"``, ``"10min"``, ``"2h"``, or ``0`` for never."""
        if isinstance(value, Interval):
            return value
        match = None if isinstance(value, bool) else _INTERVAL.match(str(value))
        if match is None:
            raise ValueError("write a number of steps (250 or '250it') or a time ('10min')")
        number, unit = float(match[1]), match[2]
        if number == 0:
            return cls()
        if unit in (None, "it", "its", "steps"):
            if number != int(number):
                raise ValueError("steps are whole numbers")
            return cls(steps=int(number))
        return cls(seconds=number * _SECONDS[unit])

    def due(self, steps: int, seconds: float) -> bool:
        """Whether this many steps and seconds since the last time are enough."""
        if self.steps is not None:
            return steps >= self.steps
        return self.seconds is not None and seconds >= self.seconds

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps}it"
        return "0" if self.seconds is None else f"{Decimal(repr(self.seconds)).normalize():f}s"


@attrs.frozen
class Size:
    """A size on disk in bytes."""

    bytes: int = 0

    @classmethod
    def parse(cls, value: Any) -> Size:
        """Read ``"20GB"``, ``"512 MiB"``, a number of bytes, or ``0`` for no bound."""
        if isinstance(value, Size):
            return value
        match = None if isinstance(value, bool) else _SIZE.match(str(value))
        if match is None:
            raise ValueError("write a size: '20GB', '512MiB', or 0 for no bound")
        power = " kmgt".index((match[2] or " ").lower())
        return cls(round(float(match[1]) * (1024 if match[3] else 1000) ** power))

    def __str__(self) -> str:
        return str(self.bytes)


def parse_duration(text: str) -> float:
    """Seconds in ``"3h50m"``, ``"90s"`` or ``"1.5h"``.

    Raises:
        UsageError: it is no duration.
    """
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise UsageError(f"'{text}' is no duration; write for example 3h50m, 90s or 1.5h")
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)


def _exactly(kind: type) -> Any:
    def structure(value: Any, _: type) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not kind:
            raise ValueError(f"expected {_NAMES[kind]}, got {value!r}")
        if kind is float and value != value:
            raise ValueError("not-a-number is no value")
        return value

    return structure


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_converter = cattrs.Converter()
for _kind in _NAMES:
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook(Interval, lambda value, _: Interval.parse(value))
_converter.register_structure_hook(Size, lambda value, _: Size.parse(value))


def _structure(value: Any, annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        return None if value in (None, "none") else _structure(value, inner[0])
    if origin is list:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {value!r}")
        return [_structure(item, typing.get_args(annotation)[0]) for item in value]
    return _converter.structure(value, annotation)


def _check(value: Any, annotation: Any, info: OptionInfo) -> Any:
    value = _structure(value, annotation)
    for item in value if isinstance(value, list) else [value]:
        if info.choices is not None and item not in info.choices:
            nearest = nearest_name(str(item), map(str, info.choices))
            raise ValueError(f"'{item}' is none of {', '.join(map(str, info.choices))}{nearest}")
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            if info.minimum is not None and item < info.minimum:
                raise ValueError(f"{item} is below the smallest value {info.minimum:g}")
            if info.maximum is not None and item > info.maximum:
                raise ValueError(f"{item} is above the largest value {info.maximum:g}")
    return value


def plain(value: Any) -> Any:
    """An option's value as TOML and JSON can hold it (None becomes "none")."""
    if isinstance(value, Interval | Size):
        return str(value)
    return "none" if value is None else value


def nearest_name(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or nothing if no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


# --- a run's configuration -----------------------------------------------------------------------


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
    fixed options win; "file" values that contradict a fixed option are passed over with a warning;
    "set" values that do are an error.
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
    """``section.option=value`` lines of a command, as `fs_kernel.assembly.Request.values`."""
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
    for layer in layers:
        for section, entries in layer.values.items():
            if section not in classes:
                if section not in ignored and layer.kind != "model":
                    where = f"[{section}]" if section else f"'{next(iter(entries))}'"
                    near = nearest_name(section, classes)
                    problems.append(f"{layer.name}: there is no section {where}{near}")
                continue
            known = options_of(classes[section])
            for key, value in entries.items():
                name = f"{section}.{key}"
                if key not in known:
                    if layer.kind != "model":
                        near = nearest_name(key, known)
                        problems.append(f"{layer.name}: there is no option {name}{near}")
                    continue
                annotation, info = known[key]
                try:
                    checked = _check(value, annotation, info)
                except Exception as error:
                    problems.append(f"{layer.name}: {name}: {error}")
                    continue
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
    made: dict[str, Any] = {}
    for section, cls in classes.items():
        try:
            made[section] = cls(**values[section])
        except (ConfigError, ValueError) as error:
            problems.append(f"[{section}]: {error}")
    if problems:
        raise ConfigError(problems)
    return Config(made, origins), warnings
