"""Examine the installed plugins in subprocesses.

A process imports the plugins of one distribution in turn and writes a line as JSON for each. If it
dies, or does not end in time, the plugin it was importing is reported as the cause, and another
process continues with the rest. So a plugin cannot harm the caller.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import importlib_metadata
from fs_kernel.errors import FsError, PluginError
from fs_kernel.hookspecs import API_VERSION
from fs_kernel.options import nearest_name
from fs_kernel.plugins import LoadedPlugin, discovery, has_hooks, kind_of, load, make_role
from fs_kernel.testing import unmarked_hooks, waivers

from fs_doctor.listing import duplicates

#: Imports that take longer, in seconds, are reported.
SLOW_SECONDS = 1.0
TIME_LIMIT = 120.0


@attrs.define
class Finding:
    """The result of examining one plugin.

    Attributes:
        name: of the plugin.
        kind: of the plugin, as a word.
        distribution: the package that it comes with.
        version: of the distribution.
        api: the plugin API it declares, if any.
        problem: why it cannot be used; None if it can.
        notes: lines for its author.
        waived: tests of its suite that it waives, with the reason.
        import_seconds: how long its import took, if it was imported.
    """

    name: str
    kind: str
    distribution: str
    version: str
    api: int | None
    problem: str | None = None
    notes: list[str] = attrs.field(factory=list)
    waived: dict[str, str] = attrs.field(factory=dict)
    import_seconds: float | None = None

    def lines(self) -> list[str]:
        """Return the finding as lines; none if all is well."""
        who = f"{self.kind} '{self.name}' ({self.distribution} {self.version})"
        found = [f"broken: {self.problem}"] if self.problem else []
        found += self.notes
        found += [f"waived {test}: {reason}" for test, reason in self.waived.items()]
        return [f"{who}: {line}" for line in found]


def examine(found: discovery.InstalledPlugin) -> dict[str, Any]:
    """Import one plugin in this process and examine it; for use in a subprocess.

    Returns:
        ``problem``, ``notes``, ``waived`` and ``import_seconds`` of a `Finding`.
    """
    report: dict[str, Any] = {"problem": None, "notes": [], "waived": {}, "import_seconds": None}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", DeprecationWarning)
            if found.kind in ("losses", "optimizers"):
                import torch  # noqa: F401  (all of them need it; its import is not their time)
            begin = time.perf_counter()
            chosen = load(found.kind, found.name)
            report["import_seconds"] = round(time.perf_counter() - begin, 3)
            caught.clear()
            _look(chosen, report)
        report["notes"] += sorted({str(w.message).splitlines()[0] for w in caught})
        report["waived"] = waivers(chosen.plugin)
    except FsError as error:
        report["problem"] = str(error).removeprefix(str(found)).lstrip(": ")
    if (report["import_seconds"] or 0) > SLOW_SECONDS:
        heavy = [n for n in ("torch", "keras") if n in sys.modules and has_hooks(found.kind)]
        hint = f"; import {' and '.join(heavy)} inside the hooks" if heavy else ""
        report["notes"].append(f"its import takes {report['import_seconds']:.1f} s{hint}")
    return report


def _look(chosen: LoadedPlugin, report: dict[str, Any]) -> None:
    plugin, kind = chosen.plugin, kind_of(chosen.kind)
    if kind.hooks:
        make_role(chosen.kind, chosen).config_defaults()
        for name in (name for specs in kind.hooks for name in unmarked_hooks(plugin, specs)):
            report["notes"].append(f"{name} is not marked with @hookimpl, so it is never called")
    elif chosen.kind == "commands":
        import click

        if not isinstance(plugin, click.Command):
            raise PluginError(f"{chosen} is not a click command", chosen.name)
    elif chosen.kind == "kinds":
        if chosen.name in discovery.KINDS:
            raise PluginError(f"{chosen} has the name of a kind of the kernel", chosen.name)
        kind_of(chosen.name)
    elif not callable(plugin):
        raise PluginError(f"{chosen} is a {type(plugin).__name__}, which cannot be called")


def check_all(limit: float = TIME_LIMIT) -> list[Finding]:
    """Examine every installed plugin, and return what was found, healthy ones included.

    Args:
        limit: seconds a process may take for one plugin.
    """
    everything = discovery.installed()
    twice = duplicates(everything)
    findings: dict[discovery.InstalledPlugin, Finding] = {}
    by_distribution: dict[str, list[discovery.InstalledPlugin]] = {}
    for item in everything:
        finding = Finding(
            item.name, discovery.word_for(item.kind), item.distribution, item.version, item.api
        )
        findings[item] = finding
        if claimed := twice.get((item.kind, item.name)):
            owners = " and ".join(sorted({f"{c.distribution} {c.version}" for c in claimed}))
            finding.problem = f"its name comes from {owners}; uninstall one of them"
        elif item.api is not None and item.api != API_VERSION:
            action = "upgrade fs-kernel" if item.api > API_VERSION else "upgrade the plugin"
            finding.problem = (
                f"it was written for plugin API {item.api}, this kernel speaks {API_VERSION}: "
                f"{action}"
            )
        else:
            by_distribution.setdefault(item.distribution, []).append(item)
        if item.api is None:
            finding.notes.append(
                "it does not declare a plugin API (entry-point group fs_kernel.api)"
            )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for reports in pool.map(
            lambda items: _in_a_process(items, limit), by_distribution.values()
        ):
            for item, report in reports:
                finding = findings[item]
                finding.problem = report["problem"]
                finding.notes += report["notes"]
                finding.waived = report["waived"]
                finding.import_seconds = report["import_seconds"]
    return [*findings.values(), *_packages()]


def _in_a_process(
    items: Sequence[discovery.InstalledPlugin], limit: float
) -> list[tuple[discovery.InstalledPlugin, dict[str, Any]]]:
    """Return the reports on the plugins of one distribution."""
    reports: list[tuple[discovery.InstalledPlugin, dict[str, Any]]] = []
    waiting = list(items)
    while waiting:
        lines, death = _ask([(item.kind, item.name) for item in waiting], limit)
        done = [json.loads(line) for line in lines]
        reports += zip(waiting, done, strict=False)
        del waiting[: len(done)]
        if waiting:
            blank: dict[str, Any] = {"notes": [], "waived": {}, "import_seconds": None}
            reports.append((waiting.pop(0), {**blank, "problem": death}))
    return reports


def _ask(names: Iterable[tuple[str, str]], limit: float) -> tuple[list[str], str]:
    """Return the lines a process wrote about plugins, and the problem of one that is missing."""
    names = list(names)
    command = [sys.executable, "-m", "fs_doctor.examination", json.dumps(names)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit * len(names),
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        output, died = result.stdout, f"its import ended the process (code {result.returncode})"
    except subprocess.TimeoutExpired as error:
        raw = error.stdout or b""
        output = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        died = f"its import did not end within {limit * len(names):.0f} s"
    return [x for x in output.split("\n") if x.startswith("{") and x.endswith("}")], died


def _packages() -> list[Finding]:
    """Return findings on packages whose entry points name groups that the kernel does not know."""
    findings, known = [], discovery.kinds()
    for dist in importlib_metadata.distributions():
        name, version, problems = "unknown", "unknown", []
        try:
            if discovery.GROUP not in (dist.read_text("entry_points.txt") or ""):
                continue
            name = dist.metadata.get("Name") or name
            version = dist.metadata.get("Version") or version
            groups = sorted({point.group for point in dist.entry_points})
            if name == "unknown":
                problems.append("its metadata has no name")
        except Exception as error:
            reason = str(error).splitlines() or [""]
            problems = [f"its metadata cannot be read: {type(error).__name__}: {reason[0]}"]
            groups = []
        for group in groups:
            kind = group.removeprefix(discovery.GROUP)
            if kind not in ("api", *known) and kind != group:
                host = discovery.published("kinds", kind)
                near = f"; pip install {host}" if host else nearest_name(kind, known)
                problems.append(f"'{group}' is not a kind of plugin, so it is ignored{near}")
        findings += [Finding("?", "package", name, version, None, text) for text in problems]
    return findings


def main() -> None:
    """Report on the plugins named in the first argument, a JSON list of ``[kind, name]``."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Output of a plugin must not be mistaken for a report.
    for kind, name in json.loads(sys.argv[1]):
        print(json.dumps(examine(discovery.find(kind, name))), file=out, flush=True)


if __name__ == "__main__":
    main()
