"""What is installed, from package metadata alone: nothing of a plugin is imported here.

A distribution offers plugins under the entry-point groups ``fs_kernel.<kind>``, and declares the
kernel API they were written for by one entry in the group ``fs_kernel.api`` whose name is the
number (``1 = "its_package"``). A distribution that hosts plugins of its own declares their kind by
one entry in the group ``fs_kernel.kinds``: ``swap_filters = "its_package.kinds:SWAP_FILTERS"`` says
that plugins under ``fs_kernel.swap_filters`` belong to it. Its name alone makes them visible here.

What is published, under which name and for which files, is data: ``index.json`` beside this file.
"""

from __future__ import annotations

import dataclasses
import json
import re
from functools import lru_cache
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


def singular(kind: str) -> str:
    """Return the name of one plugin of a kind, as it begins option sections: "losses" -> "loss"."""
    return "loss" if kind == "losses" else kind.removesuffix("s")


def word_for(kind: str) -> str:
    """Return the word for one plugin of a kind: "addons" -> "add-on"."""
    return KINDS.get(kind) or singular(kind).replace("_", " ")


def section_of(kind: str, name: str) -> str:
    """Return the option section named after a plugin: "loss.ssim"."""
    return f"{singular(kind)}.{name}"


# --- what is installed ---


# Not attrs: ``fs --help`` should not wait for its import.
@dataclasses.dataclass(frozen=True)
class InstalledPlugin:
    """One installed plugin: an entry point and the distribution it came with.

    Attributes:
        kind: the kind it was found under: "models", "losses", ...
        name: of the entry point.
        value: what to import: ``module`` or ``module:attribute``.
        distribution: name of the distribution.
        version: of the distribution.
        summary: the distribution's one line about itself.
        api: the kernel API version the distribution declares, or None if it declares none.
        urls: the distribution's project URLs by their labels.
        dist: the `importlib.metadata.Distribution`.
    """

    kind: str
    name: str
    value: str
    distribution: str
    version: str
    summary: str
    api: int | None
    urls: dict[str, str] = dataclasses.field(compare=False)
    dist: Any = dataclasses.field(compare=False, repr=False)

    @property
    def editable(self) -> bool:
        """Whether it is installed from a source tree."""
        try:
            url = json.loads(self.dist.read_text("direct_url.json") or "{}")
            return bool(url.get("dir_info", {}).get("editable"))
        except (ValueError, AttributeError):
            return False

    @property
    def issues_url(self) -> str | None:
        """Where to report a failure."""
        return self.find_url("issue|bug|tracker")

    def find_url(self, label: str) -> str | None:
        """Return the first project URL whose label matches a regular expression."""
        found = (url for name, url in self.urls.items() if re.search(label, name, re.IGNORECASE))
        return next(found, None)

    def __str__(self) -> str:
        return f"{word_for(self.kind)} '{self.name}' ({self.distribution} {self.version})"


def _plugins_of(dist: Any) -> list[InstalledPlugin]:
    """Return the plugins of a distribution; none if its metadata cannot be read."""
    try:
        if GROUP not in (dist.read_text("entry_points.txt") or ""):
            return []
        # Read once: parsing it takes longer than all the rest of a scan.
        facts, points = dist.metadata, [p for p in dist.entry_points if p.group.startswith(GROUP)]
        name, version = facts.get("Name"), facts.get("Version") or "unknown"
        api = [int(p.name) for p in points if p.group == "fs_kernel.api" and p.name.isdecimal()]
        lines = (line.partition(",") for line in facts.get_all("Project-URL") or ())
        urls = {label: url.strip() for label, _, url in lines}
        about = (version, facts.get("Summary") or "", api[0] if api else None, urls, dist)
        return [
            InstalledPlugin(p.group.removeprefix(GROUP), p.name, p.value, name, *about)
            for p in points
            if name
        ]
    except Exception:
        return []


@lru_cache(maxsize=1)
def _scan() -> tuple[InstalledPlugin, ...]:
    by_distribution: dict[str, list[InstalledPlugin]] = {}
    for dist in importlib_metadata.distributions():
        if plugins := _plugins_of(dist):
            name = re.sub(r"[-_.]+", "-", plugins[0].distribution).lower()
            # The first of two copies on the path is the one Python would import.
            by_distribution.setdefault(name, plugins)
    found = [item for plugins in by_distribution.values() for item in plugins]
    known = [*KINDS, *sorted({f.name for f in found if f.kind == "kinds"} - set(KINDS))]
    usable = (item for item in found if item.kind in known)
    return tuple(sorted(usable, key=lambda item: (known.index(item.kind), item.name)))


def installed(kind: str | None = None) -> list[InstalledPlugin]:
    """Return installed plugins, of one kind or all, by kind and name; duplicates included."""
    return [found for found in _scan() if kind is None or found.kind == kind]


def kinds() -> dict[str, str]:
    """Return every kind of plugin, with the word for one: the kernel's, then those of packages."""
    return KINDS | {item.name: word_for(item.name) for item in installed("kinds")}


def refresh() -> None:
    """Look again at the next call (packages were installed, or ``sys.path`` changed)."""
    _scan.cache_clear()


def sections() -> dict[str, InstalledPlugin]:
    """Return the installed plugins by the option section that is named after each."""
    return {section_of(found.kind, found.name): found for found in installed()}


def find(kind: str, name: str) -> InstalledPlugin:
    """Return the one installed plugin of this kind and name.

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


# --- what is published ---


def _index() -> dict[str, Any]:
    index: dict[str, Any] = json.loads(Path(__file__).with_name("index.json").read_bytes())
    return index


def published(kind: str, name: str) -> str | None:
    """Return the distribution under which this project publishes a plugin, or None."""
    package: str | None = _index().get(kind, {}).get(name)
    return package


def formats() -> dict[str, str]:
    """Return name patterns of other programs' model files, with the command that adopts each."""
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
