"""Options in words, for ``fs config show`` and ``fs plugins show``."""

from __future__ import annotations

import json
from typing import Any

import click

from fs_kernel.errors import PluginError
from fs_kernel.hookspecs import HOOKS_OF_KIND
from fs_kernel.options import Config, OptionInfo, options_of, to_toml_value
from fs_kernel.plugins import discovery
from fs_kernel.plugins.loading import load
from fs_kernel.plugins.roles import Plugins
from fs_kernel.storage import format_bytes


def facts_of(name: str, annotation: Any, info: OptionInfo) -> dict[str, Any]:
    """What is known of an option, as JSON can hold it."""
    return {
        "name": name,
        "type": getattr(annotation, "__name__", str(annotation)),
        "help": info.help,
        "minimum": info.minimum,
        "maximum": info.maximum,
        "choices": list(info.choices) if info.choices else None,
        "fixed": info.fixed,
        "live": info.live,
        "plugin": info.plugin,
    }


def _line(facts: dict[str, Any], value: Any) -> str:
    limits = ""
    if facts["choices"]:
        limits = " | ".join(map(str, facts["choices"]))
    elif facts["minimum"] is not None:
        limits = f"{facts['minimum']:g} .. {facts['maximum']:g}"
    when = "fixed" if facts["fixed"] else "live" if facts["live"] else ""
    notes = "; ".join(filter(None, [limits, when]))
    return f"{facts['name']} = {json.dumps(value)}" + (f"   [{notes}]" if notes else "")


def show_config(config: Config, as_json: bool) -> None:
    """Print every option of a configuration."""
    result: dict[str, list[dict[str, Any]]] = {}
    for section, values in config.items():
        result[section] = []
        for name, (annotation, info) in options_of(type(values)).items():
            facts = facts_of(name, annotation, info)
            facts["value"] = to_toml_value(getattr(values, name))
            facts["origin"] = config.origins.get(f"{section}.{name}", "default")
            result[section].append(facts)
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    for section, options in result.items():
        click.echo(f"[{section}]")
        for facts in options:
            origin = "" if facts["origin"] == "default" else f"   ({facts['origin']})"
            click.echo(f"  {_line(facts, facts['value'])}{origin}\n      {facts['help']}")


def show_rehearsal(facts: dict[str, Any], as_json: bool) -> None:
    """Print what `fs_kernel.rehearsal.rehearse` found."""
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    run, used, there = facts["run"], facts["memory_bytes"], facts["memory_total"]
    for line in facts["warnings"]:
        click.echo(f"note: {line}")
    faces = ", ".join(f"{side} {count}" for side, count in run["face_counts"].items())
    losses = ", ".join(f"{side} {loss:.4f}" for side, loss in facts["losses"].items())
    memory = "" if used is None else f"{format_bytes(used)} at most in this rehearsal"
    memory += "" if there is None else f" of {format_bytes(there)}"
    rows = {
        "model": f"{run['model']}, {run['parameters']:,} parameters",
        "device": f"{run['device']} ({run['precision']})",
        "faces": f"{faces}; batch {run['batch_size']} per side",
        "steps": f"{facts['steps']} to do, from {run['start_step']} to {run['target_steps']}",
        "first step": f"{facts['step_seconds']:.2f} s, loss {losses}",
        "memory": memory,
        "disk": f"about {format_bytes(facts['disk_bytes'])}, "
        f"{format_bytes(facts['disk_free'])} free",
    }
    for key, text in rows.items():
        click.echo(f"{key:11} {text}")
    for name, option in facts["options"].items():
        origin = "" if option["origin"] == "default" else f"   ({option['origin']})"
        click.echo(f"{name} = {json.dumps(option['value'])}{origin}")
    click.echo("nothing was written")


def show_plugin(name: str, as_json: bool) -> None:
    """Print where a plugin comes from, which hooks it implements, and its options.

    Raises:
        PluginError: none of that name is installed, or it cannot be loaded.
    """
    found = [item for item in discovery.installed() if item.name == name]
    if not found:
        raise PluginError(f"no plugin is called '{name}'; see: fs plugins list", name)
    report = []
    for item in found:
        facts: dict[str, Any] = {
            "kind": discovery.KINDS[item.kind],
            "name": item.name,
            "distribution": item.distribution,
            "version": item.version,
            "editable": item.editable,
            "api": item.api,
            "summary": item.summary,
            "docs": item.docs_url,
            "hooks": [],
            "options": {},
        }
        if item.kind in HOOKS_OF_KIND:
            plugins = Plugins([load(item.kind, name)])
            facts["hooks"] = plugins.hooks_of(plugins.of_kind(item.kind))
            for section, cls in plugins.config_defaults().items():
                default = cls()
                facts["options"][section] = [
                    {**facts_of(n, a, i), "default": to_toml_value(getattr(default, n))}
                    for n, (a, i) in options_of(cls).items()
                ]
        report.append(facts)
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    for facts in report:
        title = f"{facts['kind']} '{name}'  {facts['distribution']} {facts['version']}"
        click.echo(f"{title}\n{facts['summary']}")
        if facts["docs"]:
            click.echo(f"documentation: {facts['docs']}")
        if facts["hooks"]:
            click.echo(f"hooks: {', '.join(facts['hooks'])}")
        for section, options in facts["options"].items():
            click.echo(f"[{section}]")
            for option in options:
                click.echo(f"  {_line(option, option['default'])}\n      {option['help']}")
