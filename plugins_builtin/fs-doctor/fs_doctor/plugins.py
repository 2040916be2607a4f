"""``fs plugins doctor``: what is wrong with the plugins installed."""

from __future__ import annotations

import json

import attrs
import click
from fs_kernel.errors import PluginError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(as_json: bool) -> int:
    """What is wrong with the plugins installed; exit code 4 if one cannot be used.

    Each is imported in a process of its own.
    """
    from fs_kernel.testing.doctor import check_all

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
