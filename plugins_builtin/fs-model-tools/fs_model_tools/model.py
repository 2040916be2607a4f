"""Implement ``fs model`` for a model folder and its checkpoints; only ``summary`` needs plugins."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
from fs_kernel.cli import OpenGroup, say
from fs_kernel.errors import ModelFolderError
from fs_kernel.plugins import require_model
from fs_kernel.storage import FolderLock, ModelState, format_bytes

PATH = click.Path(path_type=Path)


@click.group(cls=OpenGroup)
def model() -> None:
    """Look at a model folder and its checkpoints."""


@model.command()
@click.argument("model_dir", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(model_dir: Path, as_json: bool) -> None:
    """Show the contents of the folder: network, steps, sessions."""
    checkpoints = require_model(model_dir)

    def read() -> tuple[str, ModelState]:
        name = checkpoints.latest_valid(say)
        return name, ModelState.from_json(checkpoints.read_state(name), f"checkpoint {name}")

    name, state = checkpoints.read_consistently(read)
    facts: dict[str, Any] = {
        "model": state.model,
        "network": state.network_name,
        "trainer": state.plugins.get("trainers", {}).get("name"),
        "iterations": state.iterations,
        "target_iterations": state.target_iterations,
        "complete": state.complete,
        "stop_reason": state.stop_reason,
        "generation": name,
        "parameters": state.parameters,
        "sessions": len(state.sessions),
        "average_loss": state.average_loss,
        "folders": state.folders,
        "plugins": state.plugins,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for key, value in facts.items():
        if key == "plugins":
            value = ", ".join(dict.fromkeys(map(_origin, value.values())))
        elif key == "folders":
            value = ", ".join(f"{side.upper()}: {path}" for side, path in value.items())
        click.echo(f"{key.replace('_', ' '):18} {value}")


def _origin(plugin: dict[str, Any]) -> str:
    """Return a plugin's origin: its package, or the local file as it was named."""
    if plugin.get("distribution"):
        return f"{plugin['distribution']} {plugin['version']}"
    return str(plugin.get("reference", plugin.get("name")))


@model.command()
@click.argument("model_dir", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def checkpoints(model_dir: Path, as_json: bool) -> None:
    """List the checkpoints on disk, newest first, with their sizes."""
    found = require_model(model_dir).checkpoints()
    if as_json:
        keys = ("name", "step", "bytes", "loss", "current", "snapshot")
        click.echo(json.dumps([{key: getattr(g, key) for key in keys} for g in found], indent=1))
        return
    for item in found:
        mark = "*" if item.current else " "
        loss = "" if item.loss is None else f"loss {item.loss:.5f}"
        click.echo(
            f"{mark} {item.name:14} step {item.step:<10} {format_bytes(item.bytes):>10}  {loss:14}"
            + ("snapshot" if item.snapshot else "")
        )
    word = "checkpoint" if len(found) == 1 else "checkpoints"
    click.echo(f"{len(found)} {word}, {format_bytes(sum(g.bytes for g in found))}")


@model.command()
@click.argument("model_dir", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify(model_dir: Path, as_json: bool) -> None:
    """Check every file of every checkpoint against its checksum; exit 5 if one is damaged."""
    opened = require_model(model_dir)
    problems = {g.name: opened.validation_error(g.name) for g in opened.checkpoints()}
    if as_json:
        click.echo(json.dumps(problems, indent=1))
    else:
        for name, problem in problems.items():
            click.echo(problem or f"checkpoint {name}: ok")
    if any(problems.values()):
        raise ModelFolderError(f"{model_dir}: {sum(map(bool, problems.values()))} damaged")


@model.command()
@click.argument("model_dir", type=PATH)
@click.argument("checkpoint", required=False)
def restore(model_dir: Path, checkpoint: str | None) -> None:
    """Go back to CHECKPOINT, or to the newest whole one before the current."""
    opened = require_model(model_dir)
    names = [made.name for made in opened.checkpoints()]
    current = opened.current_name()
    if checkpoint is None:
        older = opened.older_than(current) if current else opened.latest_valid(say)
        if older == current:
            raise ModelFolderError(f"{model_dir} has no older whole checkpoint")
        checkpoint = older
    if checkpoint not in names:
        raise ModelFolderError(
            f"there is no checkpoint {checkpoint} (there are: {', '.join(names)})"
        )
    if problem := opened.validation_error(checkpoint):
        raise ModelFolderError(problem)
    with _locked(model_dir):
        opened.set_current(checkpoint)
    say(f"{model_dir} is now at checkpoint {checkpoint}; {current} is kept")


@model.command()
@click.argument("model_dir", type=PATH)
@click.argument("checkpoint", required=False)
def snapshot(model_dir: Path, checkpoint: str | None) -> None:
    """Keep CHECKPOINT, or the current one, permanently.

    In a running session: fs ctl MODEL_DIR snapshot.
    """
    opened = require_model(model_dir)
    name = checkpoint or opened.latest_valid(say)
    if name not in (names := [g.name for g in opened.checkpoints()]):
        raise ModelFolderError(f"there is no checkpoint {name} (there are: {', '.join(names)})")
    if problem := opened.validation_error(name):
        raise ModelFolderError(problem)
    with _locked(model_dir):
        opened.mark_snapshot(name)
    say(f"checkpoint {name} is kept permanently")


@model.command()
@click.argument("model_dir", type=PATH)
@click.option("--keep", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option("--snapshots", is_flag=True, help="Delete snapshots too.")
def gc(model_dir: Path, keep: int, snapshots: bool) -> None:
    """Delete all checkpoints but the current, the newest, and snapshots."""
    opened = require_model(model_dir)
    current = opened.latest_valid(say)
    found = [g for g in opened.checkpoints() if snapshots or not g.snapshot or g.name == current]
    found.sort(key=lambda made: made.name != current)
    with _locked(model_dir):
        for made in found[keep:]:
            opened.delete(made)
    say(f"{max(0, len(found) - keep)} checkpoints deleted")


@contextlib.contextmanager
def _locked(model_dir: Path) -> Iterator[None]:
    lock = FolderLock(model_dir)
    try:
        yield
    except OSError as error:
        raise ModelFolderError(f"cannot write in {model_dir}: {error.strerror}") from error
    finally:
        lock.release()


@model.command()
@click.option("-t", "--model", "name", default="original", show_default=True, help="Model plugin.")
@click.option("-c", "--config", "file", type=PATH, metavar="FILE", help="Options as TOML.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.OPTION=VALUE", help="An option.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def summary(name: str, file: Path | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Show the network that options describe: layers, parameters, memory for a batch."""
    from fs_kernel.options import assignments
    from fs_kernel.training import Request, resolve_run

    from fs_model_tools.summary import summarize

    request = Request(Path(), name, config_file=file, values=assignments(settings))
    facts = summarize(resolve_run(request, ("models",), look=False))
    if as_json:
        click.echo(json.dumps(attrs.asdict(facts), indent=1))
        return
    for title, layers in facts.layers.items():
        click.echo(f"{title}: {facts.sub_models[title]:,} parameters")
        for layer, kind, shape, count in layers:
            click.echo(f"  {layer:40} {kind:22} {shape:>14} {count:>14,}")
    inputs = ", ".join(f"{s} {'x'.join(map(str, shape))}" for s, shape in facts.inputs.items())
    outputs = ", ".join(f"{o['side']} {o['kind']} {o['size']}" for o in facts.outputs)
    click.echo(f"{facts.network}: {facts.parameters:,} parameters")
    click.echo(f"inputs: {inputs}\noutputs: {outputs}")
    size = format_bytes(facts.training_bytes)
    click.echo(f"training at batch {facts.batch_size}: about {size}")
