"""Declare options, and turn what a user writes into their values."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs
import cattrs

from fs_kernel.errors import UsageError

_METADATA = "fs_kernel.option"


@attrs.frozen
class OptionInfo:
    """Hold what is known of an option besides its type and default; see `option`."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] | None = None
    fixed: bool = False
    live: bool = False
    plugin: str | None = None
    formerly: tuple[str, ...] = ()
    formerly_values: Mapping[str, Any] = attrs.field(factory=dict)
    machine_local: bool = False

    @property
    def when(self) -> str:
        """Say when it may change: "fixed" (never), "live" (in a run) or "at start" (of one)."""
        return "fixed" if self.fixed else "live" if self.live else "at start"


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Iterable[Any] | None = None,
    fixed: bool = False,
    live: bool = False,
    plugin: str | None = None,
    formerly: Iterable[str] = (),
    formerly_values: Mapping[str, Any] | None = None,
    machine_local: bool = False,
) -> Any:
    """Return a field of an option class.

    Args:
        default: the value when no source sets one; lists are copied per instance.
        help: one or two sentences for the user, with the unit.
        minimum: smallest value a user may write, inclusive.
        maximum: largest value a user may write, inclusive.
        choices: the only values a user may write.
        fixed: the value belongs to the model: set when its folder is made, never changed after.
        live: it may be changed while a run is training.
        plugin: the kind of plugin that the value names ("losses"), so that names can be listed, and
            checked before a run; "none" and "" name nothing.
        formerly: old spellings of the option's name in its section. Every source accepts them,
            and tells the new one.
        formerly_values: ``{old: new}`` spellings of its values; for a list, of its items.
        machine_local: the value belongs to the machine: one in a model folder is not taken.
    """
    if fixed and machine_local:
        raise ValueError("an option cannot be both fixed and machine_local")
    info = OptionInfo(
        help,
        minimum,
        maximum,
        tuple(choices) if choices else None,
        fixed,
        live,
        plugin,
        (formerly,) if isinstance(formerly, str) else tuple(formerly),
        dict(formerly_values or {}),
        machine_local,
    )
    extra: dict[str, Any]
    if isinstance(default, list):
        extra = {"factory": lambda: list(default)}
    else:
        extra = {"default": default}
    return attrs.field(metadata={_METADATA: info}, kw_only=True, **extra)


def options_of(cls: type) -> dict[str, tuple[Any, OptionInfo]]:
    """Return ``{name: (type, OptionInfo)}`` of an option class, in the order of its fields."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: (hints[field.name], field.metadata.get(_METADATA) or OptionInfo(""))
        for field in attrs.fields(cls)
    }


_INTERVAL = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(it|its|steps|s|sec|m|min|h|hours|d)?\s*$")
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?\s*$", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hours": 3600, "d": 86400}


@attrs.frozen
class Interval:
    """Every N steps or N seconds: one of the two is set, or neither for never."""

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
        """Tell whether this many steps and seconds since the last time are enough."""
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
    """Return the seconds in ``"3h50m"``, ``"90s"`` or ``"1.5h"``.

    Raises:
        UsageError: it is not a duration.
    """
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise UsageError(f"'{text}' is not a duration; write for example 3h50m, 90s or 1.5h")
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)


def _exactly(kind: type) -> Any:
    def convert(value: Any, _: type) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not kind:
            raise ValueError(f"expected {_NAMES[kind]}, got {value!r}")
        if kind is float and value != value:
            raise ValueError("not-a-number is not a value")
        return value

    return convert


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_converter = cattrs.Converter()
for _kind in _NAMES:
    _converter.register_structure_hook(_kind, _exactly(_kind))
_converter.register_structure_hook(Interval, lambda value, _: Interval.parse(value))
_converter.register_structure_hook(Size, lambda value, _: Size.parse(value))


def structure(value: Any, annotation: Any) -> Any:
    """Return what a user wrote as a value of a type; texts with commas may stand for lists.

    Raises:
        Exception: of any type, if it is not one.
    """
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        return None if value in (None, "none") else structure(value, inner[0])
    if origin is list:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {value!r}")
        return [structure(item, typing.get_args(annotation)[0]) for item in value]
    return _converter.structure(value, annotation)


def replace_renamed(value: Any, names: Mapping[str, Any]) -> tuple[Any, list[tuple[str, Any]]]:
    """Return a value (or a list of them) in its present spelling, and the old and new of each."""

    def renamed(item: Any) -> bool:
        return isinstance(item, str) and item in names

    if isinstance(value, list):
        changed = [(item, names[item]) for item in value if renamed(item)]
        return [names[item] if renamed(item) else item for item in value], changed
    return (names[value], [(value, names[value])]) if renamed(value) else (value, [])


def require_allowed(value: Any, info: OptionInfo) -> None:
    """Check the choices and the range of a value of the right type.

    Raises:
        ValueError: it is out of range, or not among the choices.
    """
    for item in value if isinstance(value, list) else [value]:
        if info.choices is not None and item not in info.choices:
            nearest = nearest_name(str(item), map(str, info.choices))
            raise ValueError(f"'{item}' is none of {', '.join(map(str, info.choices))}{nearest}")
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            if info.minimum is not None and item < info.minimum:
                raise ValueError(f"{item} is below the smallest value {info.minimum:g}")
            if info.maximum is not None and item > info.maximum:
                raise ValueError(f"{item} is above the largest value {info.maximum:g}")


def check_value(value: Any, annotation: Any, info: OptionInfo) -> Any:
    """Return what a user wrote as a value of the option's type, in its present spelling.

    Raises:
        ValueError: it is of another type, out of range, or not among the choices.
    """
    value, _ = replace_renamed(structure(value, annotation), info.formerly_values)
    require_allowed(value, info)
    return value


def to_toml_value(value: Any) -> Any:
    """Return an option's value as TOML and JSON can hold it (None becomes "none")."""
    if isinstance(value, Interval | Size):
        return str(value)
    return "none" if value is None else value


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or "" if no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
