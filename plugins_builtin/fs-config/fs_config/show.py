"""Implement ``fs config show``: every option of a run, with its value and its origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fs_kernel.options import Config, options_of, to_toml_value

from fs_config.describing import option_facts, option_line
from fs_config.files import installed_sections

Shown = dict[str, list[dict[str, Any]]]


def sections(config: Config, with_installed: bool = False) -> Shown:
    """Return the options of a run by section, as JSON can hold them.

    Args:
        config: the options.
        with_installed: whether to add sections of installed plugins that the run does not use, at
            their defaults.

    Returns:
        For each option the result of `fs_config.describing.option_facts`, its ``value`` and its
        ``origin``: "default", "--set", a file or a model folder.
    """
    objects: dict[str, Any] = dict(config.items())
    if with_installed:
        more = {name: cls() for name, (cls, *_) in installed_sections().items()}
        objects |= {name: values for name, values in more.items() if name not in objects}
    return {section: list(_options(config, section, v)) for section, v in objects.items()}


def _options(config: Config, section: str, values: Any) -> Iterator[dict[str, Any]]:
    for name, (annotation, info) in options_of(type(values)).items():
        facts = option_facts(name, annotation, info)
        facts["value"] = to_toml_value(getattr(values, name))
        facts["origin"] = config.origins.get(f"{section}.{name}", "default")
        yield facts


def lines(shown: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the same as lines for people."""
    for section, options in shown.items():
        yield f"[{section}]"
        for facts in options:
            origin = "" if facts["origin"] == "default" else f"   ({facts['origin']})"
            yield f"  {option_line(facts, facts['value'])}{origin}"
            yield f"      {facts['help']}"
