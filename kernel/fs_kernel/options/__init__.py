"""Options: how they are declared, where their values come from, and how they are checked.

Plugins declare them with `option`; `resolve` makes a run's `Config` from its sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_kernel._lazy import lazy_exports

if TYPE_CHECKING:
    from fs_kernel.options.checks import check_option, find_option
    from fs_kernel.options.fields import (
        Interval,
        OptionInfo,
        Size,
        check_value,
        nearest_name,
        option,
        options_of,
        parse_duration,
        to_toml_value,
    )
    from fs_kernel.options.resolution import Resolution, resolve, winning_value
    from fs_kernel.options.sources import (
        CommandLineSource,
        Config,
        FileSource,
        ModelFolderSource,
        OptionSource,
        Renames,
        assignments,
        parse_assignment,
        read_toml,
    )
    from fs_kernel.options.store import OptionStore
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "checks": ("check_option", "find_option"),
            "fields": (
                *("Interval", "OptionInfo", "Size", "check_value", "nearest_name", "option"),
                *("options_of", "parse_duration", "to_toml_value"),
            ),
            "resolution": ("Resolution", "resolve", "winning_value"),
            "sources": (
                *("CommandLineSource", "Config", "FileSource", "ModelFolderSource"),
                *("OptionSource", "Renames", "assignments", "parse_assignment", "read_toml"),
            ),
            "store": ("OptionStore",),
        },
    )

__all__ = [
    "CommandLineSource",
    "Config",
    "FileSource",
    "Interval",
    "ModelFolderSource",
    "OptionInfo",
    "OptionSource",
    "OptionStore",
    "Renames",
    "Resolution",
    "Size",
    "assignments",
    "check_option",
    "check_value",
    "find_option",
    "nearest_name",
    "option",
    "options_of",
    "parse_assignment",
    "parse_duration",
    "read_toml",
    "resolve",
    "to_toml_value",
    "winning_value",
]
