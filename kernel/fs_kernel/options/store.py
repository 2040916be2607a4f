"""Hold the options of a run in one place while they change."""

from __future__ import annotations

from typing import Any

from fs_kernel.options.sources import Config


class OptionStore:
    """The options of one run, shared by everything that reads them.

    Each `Config` is immutable: one that was read before a change still has the old values.

    Args:
        config: the options to begin with; none if left out.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = Config({}) if config is None else config

    @property
    def config(self) -> Config:
        """Return the options as they are now."""
        return self._config

    def replace(self, config: Config) -> None:
        """Put another configuration in place of this one."""
        self._config = config

    def set(self, section: str, option: str, value: Any, origin: str) -> None:
        """Give one option another value, unchecked (see `check_option`).

        Args:
            section: its section.
            option: its name there.
            value: the new value, of the option's type.
            origin: where the value came from, for `Config.origins`.
        """
        self._config = self._config.changed(section, option, value, origin)
