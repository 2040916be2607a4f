"""Declare options, and turn what a user writes into their values."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Concatenate, ParamSpec

import attrs
import cattrs

from fs_kernel.errors import UsageError

P = ParamSpec("P")
_METADATA = "fs_kernel.option"


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _choices(given: Iterable[Any] | None) -> tuple[Any, ...] | None:
    return tuple(given or ()) or None


@attrs.frozen
class OptionInfo:
    """Hold what is known of an option besides its type and default.

    Attributes:
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

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] | None = attrs.field(default=None, converter=_choices)
    fixed: bool = False
    live: bool = False
    plugin: str | None = None
    formerly: tuple[str, ...] = attrs.field(default=(), converter=_names)
    formerly_values: Mapping[str, Any] = attrs.field(factory=dict)
    machine_local: bool = False

    def __attrs_post_init__(self) -> None:
        if self.fixed and self.machine_local:
            raise ValueError("an option cannot be both fixed and machine_local")

    @property
    def when(self) -> str:
        """Say when it may change: "fixed" (never), "live" (in a run) or "at start" (of one)."""
        return "fixed" if self.fixed else "live" if self.live else "at start"


def _described_by(info: Callable[P, OptionInfo]) -> Callable[Concatenate[Any, P], Any]:
    """Return `option`, whose parameters are a default and those of `OptionInfo`."""

    def option(default: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return a field of an option class.

        Args:
            default: the value when no source sets one; lists are copied per instance.
            args: the help.
            kwargs: the other attributes of `OptionInfo`, by name.
        """
        if isinstance(default, list):
            default = attrs.Factory(default.copy)
        return attrs.field(
            default=default, metadata={_METADATA: info(*args, **kwargs)}, kw_only=True
        )

    return option


option = _described_by(OptionInfo)


def options_of(cls: type) -> dict[str, tuple[Any, OptionInfo]]:
    """Return ``{name: (type, OptionInfo)}`` of an option class, in the order of its fields."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: (hints[field.name], field.metadata.get(_METADATA) or OptionInfo(""))
        for field in attrs.fields(cls)
    }


_INTERVAL = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(it|its|steps|s|sec|m|min|h|hours|d)?\s*")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE)
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
        if (match := _INTERVAL.fullmatch(str(value))) is None:
            raise ValueError("write a number of steps (250 or '250it') or a time ('10min')")
        number, unit = float(match[1]), match[2]
        if number == 0:
            return cls()
        if unit in _SECONDS:
            return cls(seconds=number * _SECONDS[unit])
        if not number.is_integer():
            raise ValueError("steps are whole numbers")
        return cls(steps=int(number))

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
        if (match := _SIZE.fullmatch(str(value))) is None:
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


def _exactly(value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"expected {_WORDS[kind]}, got {value!r}")
    if value != value:
        raise ValueError("not-a-number is not a value")
    return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_converter = cattrs.Converter()
for _kind in _WORDS:
    _converter.register_structure_hook(_kind, _exactly)
for _unit in (Interval, Size):
    _converter.register_structure_hook(_unit, lambda value, kind: kind.parse(value))


def _structure(value: Any, annotation: Any) -> Any:
    """Return what a user wrote as a value of a type; texts with commas may stand for lists.

    Raises:
        Exception: of any type, if it is not one.
    """
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


def check_value(
    value: Any,
    annotation: Any,
    info: OptionInfo,
    bounded: bool = True,
    renamed: list[tuple[str, Any]] | None = None,
) -> Any:
    """Return what a user wrote as a value of the option's type, in its present spelling.

    Args:
        value: as a user would write it.
        annotation: the option's type.
        info: the option's choices, range and old spellings.
        bounded: whether the option's range holds.
        renamed: takes the old and the new spelling of each value or item that has one.

    Raises:
        Exception: it is of another type, out of range, or not among the choices; a `ValueError` but
            for types that options seldom have.
    """
    value = _structure(value, annotation)
    checked = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and item in info.formerly_values:
            new = info.formerly_values[item]
            if renamed is not None:
                renamed.append((item, new))
            item = new
        _require_allowed(item, info, bounded)
        checked.append(item)
    return checked if isinstance(value, list) else checked[0]


def _require_allowed(item: Any, info: OptionInfo, bounded: bool) -> None:
    if info.choices is not None and item not in info.choices:
        nearest = nearest_name(str(item), map(str, info.choices))
        raise ValueError(f"'{item}' is none of {', '.join(map(str, info.choices))}{nearest}")
    if bounded and isinstance(item, int | float) and not isinstance(item, bool):
        if info.minimum is not None and item < info.minimum:
            raise ValueError(f"{item} is below the smallest value {info.minimum:g}")
        if info.maximum is not None and item > info.maximum:
            raise ValueError(f"{item} is above the largest value {info.maximum:g}")


def to_toml_value(value: Any) -> Any:
    """Return an option's value as TOML and JSON can hold it (None becomes "none")."""
    if isinstance(value, Interval | Size):
        return str(value)
    return "none" if value is None else value


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or "" if no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
