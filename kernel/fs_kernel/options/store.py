"""Hold the options of a run while they change, and check what they change to."""

from __future__ import annotations

from typing import Any

import attrs

from fs_kernel.errors import ConfigError
from fs_kernel.options.fields import OptionInfo, check_value, nearest_name, options_of
from fs_kernel.options.sources import Config


@attrs.define(eq=False)
class OptionStore:
    """The options of one run, shared by everything that reads them.

    Attributes:
        config: the options as they are now. Each `Config` is immutable: one that was read before a
            change still has the old values.
    """

    config: Config = attrs.field(factory=lambda: Config({}))

    def replace(self, config: Config) -> None:
        """Put another configuration in place of this one."""
        self.config = config

    def set(self, section: str, option: str, value: Any, origin: str) -> None:
        """Give one option another value, unchecked (see `check_option`).

        Args:
            section: its section.
            option: its name there.
            value: the new value, of the option's type.
            origin: where the value came from, for `Config.origins`.
        """
        self.config = self.config.changed(section, option, value, origin)


def find_option(config: Config, name: str) -> tuple[Any, OptionInfo]:
    """Return the type of the option called "section.option", and what is known of it.

    Raises:
        ConfigError: this run has no such option.
    """
    section, _, key = name.rpartition(".")
    if section not in config:
        near = nearest_name(section, config)
        raise ConfigError(f"{name}: this run has no section [{section}]{near}")
    known = options_of(type(config[section]))
    if key not in known:
        for new, (_, info) in known.items():
            if key in info.formerly:
                raise ConfigError(f"{name} is now {section}.{new}")
        raise ConfigError(f"there is no option {name}{nearest_name(key, known)}")
    return known[key]


def check_option(config: Config, name: str, value: Any, bounded: bool = True) -> Any:
    """Return the value that an option would have after a change while training.

    Args:
        config: the run's options.
        name: "section.option".
        value: as a user would write it.
        bounded: whether the option's range holds.

    Raises:
        ConfigError: there is no such option, it is not live, or the value does not fit.
    """
    section, _, key = name.rpartition(".")
    annotation, info = find_option(config, name)
    if not info.live:
        raise ConfigError(f"{name} cannot change while training; stop, and resume with --set")
    try:
        checked = check_value(value, annotation, info, bounded)
        # A class may refuse a combination that each value alone allows.
        attrs.evolve(config[section], **{key: checked})
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from None
    return checked
