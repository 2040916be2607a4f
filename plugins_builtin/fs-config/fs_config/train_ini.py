"""Convert the options of faceswap's ``train.ini`` to ours."""

from __future__ import annotations

import configparser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_origin

import attrs
from fs_kernel.errors import ConfigError
from fs_kernel.options import (
    FileSource,
    OptionInfo,
    check_value,
    nearest_name,
    options_of,
    resolve,
    to_toml_value,
)
from fs_kernel.plugins import discovery

from fs_config.options_map import GONE, HERE, VALUES

_MAX_BYTES = 2**20
_MODEL = "model."
_SHOWN = 40


@attrs.define
class Options:
    """The result of converting a file.

    Attributes:
        values: ``{section: {option: value}}`` of our options, each as a user may write it.
        notes: a line for each option that was left out or means something else now.
    """

    values: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)


def read_ini(path: Path) -> dict[str, dict[str, str]]:
    """Return the sections of an ini file; comments are skipped.

    Raises:
        ConfigError: it cannot be read, or is not an ini file.
    """
    # No file can hold this name, so that no section of it provides defaults for the others.
    parser = configparser.ConfigParser(interpolation=None, default_section="\n")
    try:
        if not path.is_file():
            raise ConfigError(f"{path} is not a file")
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_BYTES >> 20} MiB; refused")
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=path.name)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (configparser.Error, ValueError) as error:
        reason = _printable(" ".join(str(error).split()))[:200]
        raise ConfigError(f"{path} is not a valid ini file: {reason}") from None
    return {section: dict(parser[section]) for section in parser.sections()}


def translate(
    found: Mapping[str, Mapping[str, str]], classes: Mapping[str, Sequence[type]]
) -> Options:
    """Return our options for those of a ``train.ini``.

    Args:
        found: from `read_ini`.
        classes: the available option classes, by section.

    Raises:
        ConfigError: the file holds no section of a ``train.ini``, or options that contradict each
            other.
    """
    if not any(section in HERE or section.startswith(_MODEL) for section in found):
        raise ConfigError(f"this is not a train.ini: there is none of [{'], ['.join(HERE)}]")
    options = Options()
    for section, entries in found.items():
        known = (
            _model_options(section, classes) if section.startswith(_MODEL) else HERE.get(section)
        )
        if known is None:
            options.notes.append(f"[{_shown(section)}]: {_why_not(section)}")
            continue
        for name, text in entries.items():
            _take(options, classes, section, name, text, known)
    _require_consistent(options, classes)
    return options


def _model_options(section: str, classes: Mapping[str, Sequence[type]]) -> dict[str, str] | None:
    if section not in classes:
        return None
    return {name: f"{section}.{name}" for name in options_of(classes[section][0])}


def _why_not(section: str) -> str:
    if not section.startswith(_MODEL):
        return "no such section is known" + nearest_name(section, HERE)
    package = discovery.published("models", section.removeprefix(_MODEL))
    return f"not taken; pip install {package}" if package else "no such network is installed"


def _take(
    options: Options,
    classes: Mapping[str, Sequence[type]],
    section: str,
    name: str,
    text: str,
    known: Mapping[str, str],
) -> None:
    """Convert one option into ``options``, or note why it was left out."""
    label = f"[{_shown(section)}] {_shown(name)}"
    if name not in known:
        reason = GONE.get(section, {}).get(name)
        unknown = "no such option is known" + nearest_name(name, known)
        options.notes.append(f"{label}: {reason or unknown}")
        return
    target, _, option = known[name].rpartition(".")
    if target not in classes:
        package = discovery.published("addons", target.rpartition(".")[2])
        options.notes.append(f"{label}: not taken; pip install {package}")
        return
    annotation, info = options_of(classes[target][0])[option]
    try:
        value = _read(text, annotation, VALUES.get((section, name), {}))
        value = _checked(value, annotation, info)
    except ValueError as error:
        default = to_toml_value(getattr(classes[target][0](), option))
        options.notes.append(f"{label} = {_shown(text)}: {_printable(error)}; left at {default!r}")
        return
    options.values.setdefault(target, {})[option] = value
    translation = VALUES.get((section, name), {}).get(text.lower())
    if translation and translation.note:
        options.notes.append(
            f"{label} = {_shown(text)} is {target}.{option} = {value} here: {translation.note}"
        )


def _read(text: str, annotation: Any, words: Mapping[str, Any]) -> Any:
    """Return a value as faceswap reads it: words in lower case, lists by commas or blanks.

    Raises:
        ValueError: it is not of the option's type.
    """
    word = text.strip().lower()
    states = configparser.ConfigParser.BOOLEAN_STATES
    if "true" in words or annotation is bool:
        if word not in states:
            raise ValueError("write true or false")
        word = str(states[word]).lower()
    if word in words:
        return words[word].value
    if annotation is bool:
        return word == "true"
    if annotation is int:
        return int(word)
    if annotation is float:
        return float(word)
    if get_origin(annotation) is list:
        return list(dict.fromkeys(word.replace(",", " ").split()))
    return word


def _checked(value: Any, annotation: Any, info: OptionInfo) -> Any:
    value = check_value(value, annotation, info)
    if info.plugin and value != "none":
        names = [found.name for found in discovery.installed(info.plugin)]
        if value not in names:
            raise ValueError(f"none of {', '.join(names)} is called so{nearest_name(value, names)}")
    return value


def _require_consistent(options: Options, classes: Mapping[str, Sequence[type]]) -> None:
    chosen = {section: classes[section][0] for section in options.values}
    resolve(chosen, [FileSource("train.ini", options.values)])


def _shown(text: str) -> str:
    """Return foreign text, shortened and with control characters escaped for a terminal."""
    return _printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") or "''"


def _printable(text: object) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
