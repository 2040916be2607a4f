"""The filters of one swap, behind one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from fs_kernel.errors import PluginError
from fs_kernel.options import CommandLineSource, OptionStore, resolve
from fs_kernel.plugins import load_role, merged_sections
from fs_kernel.types import Face

KIND = "swap_filters"


class Filters:
    """Filters in the order they are applied.

    Args:
        chosen: each by name, path, reference or object; see `fs_kernel.plugins.loading.load`.
        values: options, ``{section: {option: value}}``; sections of others are left alone.

    Raises:
        PluginError: a filter is not installed, or does not fit.
        ConfigError: an option of a filter does not fit.
    """

    def __init__(
        self, chosen: Iterable[Any] = (), values: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        store = OptionStore()
        self._plugins = [load_role(KIND, reference, store) for reference in chosen]
        classes = merged_sections(self._plugins)
        self.sections = frozenset(classes)
        own = {section: dict(v) for section, v in (values or {}).items() if section in classes}
        config, _ = resolve(classes, [CommandLineSource("--set", own)])
        store.replace(config)

    def __call__(self, swapped: np.ndarray, mask: np.ndarray | None, face: Face) -> np.ndarray:
        """Return the picture after every filter; arguments as of the hook ``filter_face``."""
        for item in self._plugins:
            arguments = {"swapped": swapped, "mask": mask, "face": face, "config": item.config}
            result = item.call("filter_face", **arguments)
            if not isinstance(result, np.ndarray) or result.shape != swapped.shape:
                got = getattr(result, "shape", type(result).__name__)
                raise PluginError(
                    f"{item} returned {got} from filter_face, not a picture of {swapped.shape}",
                    item.name,
                )
            swapped = np.clip(result, 0.0, 1.0).astype(np.float32, copy=False)
        return swapped
