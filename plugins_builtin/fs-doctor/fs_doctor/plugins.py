"""Implement ``fs plugins list``, ``show`` and ``doctor``."""

from __future__ import annotations

import json
from typing import Any

import attrs
import click
from fs_kernel.cli import OpenGroup
from fs_kernel.errors import PluginError
from fs_kernel.plugins import discovery

from fs_doctor.listing import rows, table

COLUMNS = ("kind", "name", "distribution", "version", "editable", "api", "status")
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group(cls=OpenGroup)
def plugins() -> None:
    """Show what is installed, and what is wrong with it."""


@plugins.command("list")
@JSON
def list_(as_json: bool) -> None:
    """List every installed plugin, from metadata alone."""
    found = rows()
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        click.echo(table(found, COLUMNS))


@plugins.command()
@click.argument("name")
@JSON
def show(name: str, as_json: bool) -> None:
    """Show options, hooks and documentation of every installed plugin called NAME."""
    from fs_doctor.describing import option_line

    found = [item for item in discovery.installed() if item.name == name]
    if not found:
        raise PluginError(f"no plugin is called '{name}'; see: fs plugins list", name)
    report = [facts_of(item) for item in found]
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
                line = option_line(option, option["default"])
                click.echo(f"  {line}\n      {option['help']}")


def facts_of(item: discovery.InstalledPlugin) -> dict[str, Any]:
    """Import a plugin and return where it comes from, its hooks and its options, for JSON.

    Raises:
        PluginError: it cannot be loaded.
    """
    from fs_kernel.options import options_of, to_toml_value
    from fs_kernel.plugins import has_hooks, load_role

    from fs_doctor.describing import option_facts

    facts: dict[str, Any] = {
        "kind": discovery.word_for(item.kind),
        "name": item.name,
        "distribution": item.distribution,
        "version": item.version,
        "editable": item.editable,
        "api": item.api,
        "summary": item.summary,
        "docs": item.find_url("doc") or item.find_url("home|source|repository"),
        "hooks": [],
        "options": {},
    }
    if has_hooks(item.kind):
        role = load_role(item.kind, item.name)
        facts["hooks"] = role.hooks()
        for section, cls in role.config_defaults().items():
            default = cls()
            facts["options"][section] = [
                {**option_facts(n, a, i), "default": to_toml_value(getattr(default, n))}
                for n, (a, i) in options_of(cls).items()
            ]
    return facts


@plugins.command()
@JSON
def doctor(as_json: bool) -> int:
    """Say what is wrong with the installed plugins; exit code 4 if one cannot be used.

    Each is imported in a process of its own.
    """
    from fs_doctor.examination import check_all

    findings = check_all()
    if as_json:
        click.echo(json.dumps([attrs.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            for line in finding.lines():
                click.echo(line)
        broken = sum(finding.problem is not None for finding in findings)
        click.echo(f"{len(findings)} plugins, {broken or 'none'} broken")
    return PluginError.exit_code if any(finding.problem for finding in findings) else 0
