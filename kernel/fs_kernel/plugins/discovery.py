"""What is installed, from package metadata alone: nothing of a plugin is imported here.

A distribution offers plugins under the entry-point groups ``fs_kernel.<kind>``, and declares the
kernel API they were written for by one entry in the group ``fs_kernel.api`` whose name is the
number (``1 = "its_package"``). A distribution that hosts plugins of its own declares their kind by
one entry in the group ``fs_kernel.kinds``: ``swap_filters = "its_package.kinds:SWAP_FILTERS"`` says
that plugins under ``fs_kernel.swap_filters`` belong to it. Its name alone makes them visible here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import importlib_metadata

from fs_kernel.errors import PluginError

GROUP = "fs_kernel."
#: The kernel's kinds of plugin, with the word for one of them.
KINDS = {
    "models": "model",
    "trainers": "trainer",
    "feeds": "feed",
    "executors": "executor",
    "addons": "add-on",
    "objectives": "objective",
    "commands": "command",
    "losses": "loss",
    "optimizers": "optimizer",
    "tools": "tool",
    "kinds": "kind",
}
_SINGULAR = {"losses": "loss"}


def singular(kind: str) -> str:
    """Return the name of one plugin of a kind, as it begins option sections: "losses" -> "loss"."""
    return _SINGULAR.get(kind, kind.removesuffix("s"))


def word_for(kind: str) -> str:
    """Return the word for one plugin of a kind: "addons" -> "add-on"."""
    return KINDS.get(kind) or singular(kind).replace("_", " ")


class InstalledPlugin:
    """One installed plugin: an entry point and the distribution it came with."""

    def __init__(self, kind: str, name: str, value: str, dist: Any, metadata: Any):
        self.kind = kind
        self.name = name
        self.value = value
        self._dist = dist
        # Read once: parsing it takes longer than all the rest of a scan.
        self._metadata = metadata

    @cached_property
    def distribution(self) -> str:
        """Name of the distribution."""
        return self._metadata.get("Name") or "unknown"

    @cached_property
    def version(self) -> str:
        """Version of the distribution."""
        return self._metadata.get("Version") or "unknown"

    @cached_property
    def summary(self) -> str:
        """The distribution's one line about itself."""
        return self._metadata.get("Summary") or ""

    @cached_property
    def api(self) -> int | None:
        """The kernel API version the distribution declares, or None if it declares none."""
        entries = _entries(self._dist, "fs_kernel.api")
        return next((int(name) for name, _ in entries if name.isdecimal()), None)

    @cached_property
    def editable(self) -> bool:
        """Whether it is installed from a source tree."""
        try:
            url = json.loads(self._dist.read_text("direct_url.json") or "{}")
            return bool(url.get("dir_info", {}).get("editable"))
        except (ValueError, AttributeError):
            return False

    @cached_property
    def issues_url(self) -> str | None:
        """Where to report a failure, from the distribution's project URLs."""
        return self._url(r"issue|bug|tracker")

    @cached_property
    def docs_url(self) -> str | None:
        """Where to read about it, from the distribution's project URLs."""
        return self._url(r"doc") or self._url(r"home|source|repository")

    def _url(self, labels: str) -> str | None:
        for line in self._metadata.get_all("Project-URL") or []:
            label, _, url = line.partition(",")
            if re.search(labels, label, re.IGNORECASE):
                return str(url.strip())
        return None

    def __str__(self) -> str:
        return f"{word_for(self.kind)} '{self.name}' ({self.distribution} {self.version})"


def _entries(dist: Any, group: str) -> list[tuple[str, str]]:
    return [(e.name, e.value) for e in dist.entry_points if e.group == group]


@lru_cache(maxsize=1)
def _scan() -> tuple[InstalledPlugin, ...]:
    found: list[InstalledPlugin] = []
    seen: set[str] = set()
    for dist in importlib_metadata.distributions():
        try:
            text = dist.read_text("entry_points.txt")
            if not text or GROUP not in text:
                continue
            # The first of two copies on the path is the one Python would import.
            metadata = dist.metadata
            name = re.sub(r"[-_.]+", "-", metadata.get("Name") or "").lower()
            if not name or name in seen:
                continue
            seen.add(name)
            points = list(dist.entry_points)
        except Exception:
            continue
        found.extend(
            InstalledPlugin(point.group[len(GROUP) :], point.name, point.value, dist, metadata)
            for point in points
            if point.group.startswith(GROUP)
        )
    known = [*KINDS, *sorted({f.name for f in found if f.kind == "kinds"} - set(KINDS))]
    usable = (f for f in found if f.kind in known)
    return tuple(sorted(usable, key=lambda f: (known.index(f.kind), f.name)))


def kinds() -> dict[str, str]:
    """Return every kind of plugin, with the word for one: the kernel's, then those of packages."""
    declared = sorted({item.name for item in installed("kinds")} - set(KINDS))
    return KINDS | {kind: word_for(kind) for kind in declared}


def installed(kind: str | None = None) -> list[InstalledPlugin]:
    """Installed plugins, of one kind or of all, sorted by kind and name; duplicates included."""
    return [found for found in _scan() if kind is None or found.kind == kind]


def refresh() -> None:
    """Look again at the next call (packages were installed, or ``sys.path`` changed)."""
    _scan.cache_clear()


def published(kind: str, name: str) -> str | None:
    """The distribution under which this project publishes a plugin, from ``index.json``."""
    package: str | None = _index().get(kind, {}).get(name)
    return package


def formats() -> dict[str, str]:
    """Name patterns of other programs' model files, with the command that adopts each."""
    return dict(_index()["formats"])


def renamed_to(kind: str, name: str) -> str:
    """Return the present name of a plugin that this project may have renamed."""
    present: str = _index()["renamed"].get(kind, {}).get(name, name)
    return present


def renamed() -> dict[str, dict[str, str]]:
    """Return ``{kind: {old name: new name}}`` of plugins that this project has renamed.

    A name counts only if the new one is installed and the old one is not: another distribution may
    offer a plugin under the old name.
    """
    return {
        kind: {
            old: new
            for old, new in names.items()
            if {found.name for found in installed(kind)} & {old, new} == {new}
        }
        for kind, names in _index()["renamed"].items()
    }


def section_of(kind: str, name: str) -> str:
    """Return the option section named after a plugin: "loss.ssim"."""
    return f"{singular(kind)}.{name}"


def sections() -> dict[str, InstalledPlugin]:
    """Return the installed plugins by the option section that is named after each."""
    return {section_of(found.kind, found.name): found for found in installed()}


def _index() -> dict[str, Any]:
    index: dict[str, Any]
    index = json.loads(Path(__file__).with_name("index.json").read_bytes())
    return index


def find(kind: str, name: str) -> InstalledPlugin:
    """The one installed plugin of this kind and name.

    Raises:
        PluginError: none has the name (with the nearest one, and the package to install where this
            project publishes it), or two distributions do.
    """
    matches = [found for found in installed(kind) if found.name == name]
    word = word_for(kind)
    if len(matches) > 1:
        owners = " and ".join(sorted(f"{m.distribution} {m.version}" for m in matches))
        raise PluginError(f"{word} '{name}' comes from {owners}; uninstall one of them", name)
    if not matches:
        from fs_kernel.options.fields import nearest_name

        names = [found.name for found in installed(kind)]
        known = f"installed: {', '.join(names)}" if names else f"no {word} is installed"
        package = published(kind, name)
        hint = f"; pip install {package}" if package else nearest_name(name, names)
        raise PluginError(f"there is no {word} '{name}' ({known}){hint}", name)
    return matches[0]


def duplicates(
    found: Iterable[InstalledPlugin],
) -> dict[tuple[str, str], Sequence[InstalledPlugin]]:
    """Names that several distributions claim, by (kind, name)."""
    groups: dict[tuple[str, str], list[InstalledPlugin]] = {}
    for item in found:
        groups.setdefault((item.kind, item.name), []).append(item)
    return {key: items for key, items in groups.items() if len(items) > 1}
