"""``fs doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from fs_doctor import system, training
from fs_doctor.finding import Finding
from fs_doctor.nvidia import find_nvidia
from fs_doctor.probes import Probes


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
@click.pass_context
def doctor(context: click.Context, model_dir: Path | None, as_json: bool) -> None:
    """Look this machine over: can it train, on what, and what is in the way.

    MODEL_DIR is where a model is or will be; its disk is looked at too. Exit code 0 unless training
    is impossible: 4 if plugins are missing, 5 if MODEL_DIR cannot be written to, 6 otherwise.
    """
    probes = context.obj if isinstance(context.obj, Probes) else Probes()
    findings = []
    for finding in examine(probes, model_dir):
        findings.append(finding)
        if not as_json:
            click.echo(finding.line())
    problems = [finding for finding in findings if finding.status == "problem"]
    if as_json:
        facts = {"can_train": not problems, "checks": [f.facts() for f in findings]}
        click.echo(json.dumps(facts, indent=1))
    if problems:
        context.exit(problems[0].exit_code)


def examine(probes: Probes, model_dir: Path | None) -> Iterator[Finding]:
    """Yield the finding of every check in turn, the quick ones first.

    Args:
        probes: the machine.
        model_dir: see `doctor`.
    """
    yield system.check_python(probes)
    yield system.check_system(probes)
    yield system.check_plugins(probes)
    yield system.check_memory(probes)
    yield system.check_disk(probes, model_dir)
    yield system.check_shared_memory(probes)
    yield system.check_terminal(probes)
    found = probes.libraries()
    torch = found["torch"]
    yield system.check_processors(probes, torch.get("threads"))
    yield training.check_torch(torch)
    yield training.check_driver(torch, find_nvidia(probes), probes.environ)
    yield from training.check_devices(torch)
    yield training.check_keras(found["keras"], torch, probes.environ)
    yield training.check_opencv(found["opencv"])
