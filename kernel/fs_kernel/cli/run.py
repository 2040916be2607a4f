"""``fs run``: train a model, or resume the one its folder holds."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import click

from fs_kernel.cli import say
from fs_kernel.errors import UsageError
from fs_kernel.options import parse_duration

PATH = click.Path(path_type=Path)


@click.command()
@click.option("-A", "--faces-a", type=PATH, metavar="FOLDER", help="Aligned faces of A.")
@click.option("-B", "--faces-b", type=PATH, metavar="FOLDER", help="Aligned faces of B.")
@click.option("--faces", nargs=2, multiple=True, metavar="SIDE FOLDER", help="Faces of any side.")
@click.option("-m", "--model-dir", type=PATH, required=True, help="The model's folder.")
@click.option("-t", "--model", help="Model plugin for a new model (default: original).")
@click.option("--trainer", help="Trainer plugin.")
@click.option("-b", "--batch-size", metavar="N|auto", help="Faces per side per step.")
@click.option("-i", "--iterations", type=int, help="Steps the model shall have in all.")
@click.option("--max-time", metavar="TIME", help="Stop, saved, after this long: 3h50m, 90s.")
@click.option("--seed", type=int, help="Key of all randomness.")
@click.option("--load-weights", type=PATH, metavar="MODEL_DIR", help="Start from another model.")
@click.option("--freeze-weights", is_flag=True, help="Freeze what the model plugin names.")
@click.option("--reset-trainer", is_flag=True, help="Start the trainer without its saved state.")
@click.option("-c", "--config", type=PATH, metavar="FILE", help="Options as TOML.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.OPTION=VALUE", help="An option.")
@click.option("--devices", type=click.IntRange(min=1), default=1, help="Processes to train in.")
@click.option("--dry-run", is_flag=True, help="Check everything, train one step, keep nothing.")
@click.option("--json", is_flag=True, help="With --dry-run: as JSON.")
@click.option("--exit-on-preempt", type=int, metavar="CODE", help="Exit code after a signal.")
@click.pass_context
def run(
    context: click.Context,
    /,
    model_dir: Path,
    model: str | None,
    settings: tuple[str, ...],
    **given: Any,
) -> int:
    """Train a model, or resume the one the folder holds.

    A resumed folder knows its model, its options and its faces: fs run -m MODEL_DIR. SIGINT and
    SIGTERM finish the step, save and exit 0; SIGUSR1 saves now.
    """
    if given["json"] and not given["dry_run"]:
        raise UsageError("--json goes with --dry-run; a run writes logs/events.jsonl")
    limit = parse_duration(given["max_time"]) if given["max_time"] else None
    request = _request(model_dir, model, settings, given)
    if given["devices"] > 1:
        return _launch(request, context.find_root().obj, given["devices"])
    if given["dry_run"]:
        return _dry_run(request, given["json"])
    from fs_kernel.run import begin

    training = begin(request)
    plain = (
        all(addon.name != "console" for addon in training.session.plugins.addons)
        and training.group.rank == 0
    )
    if plain:
        for line in training.warnings:
            say(line)
    with _Signals(training) as signals, training:
        if training.state.complete and training.group.rank == 0:
            say(
                f"fs: {model_dir} already has {training.step} steps; "
                f"ask for more with -i (it was {training.info.target_steps})"
            )
        outcome = training.train(limit)
    if plain:
        say(f"{outcome.reason} at step {outcome.step}, saved in {model_dir}")
    code = given["exit_on_preempt"]
    return code if signals.received and code is not None else 0


def _dry_run(request: Any, as_json: bool) -> int:
    from fs_kernel.plugins.tools import load_tool
    from fs_kernel.run import resolve_batch_size

    dry_run = load_tool("dry_run", "--dry-run")
    resolve_batch_size(request)
    report = dry_run(request)
    if report.process == 0:
        click.echo(json.dumps(report.facts, indent=1) if as_json else report.text())
    return 0


def _launch(request: Any, argv: list[str], devices: int) -> int:
    """Have the run's trainer start ``fs`` with the same arguments in several processes."""
    from fs_kernel.training.resolve import trainer_of

    trainer = trainer_of(request)
    code: int | None = trainer.launch([*argv, "--devices", "1"], devices)
    if code is None:
        raise UsageError(
            f"--devices {devices}: the trainer '{trainer.name}' starts no "
            "processes; choose one that does, such as --trainer ddp"
        )
    return code


def _request(
    model_dir: Path, model: str | None, settings: tuple[str, ...], given: dict[str, Any]
) -> Any:
    from fs_kernel.options import assignments
    from fs_kernel.training.resolve import Request

    values = assignments(settings)
    training = values.setdefault("training", {})
    for option in ("trainer", "batch_size", "iterations", "seed"):
        if given[option] is not None:
            training[option] = given[option]
    size = str(training.get("batch_size"))
    training |= {"batch_size": int(size)} if size.isdecimal() else {}
    if given["freeze_weights"]:
        training["freeze_weights"] = True
    folders = {side.lower(): Path(folder) for side, folder in given["faces"]}
    folders |= {s: given[f"faces_{s}"] for s in ("a", "b") if given[f"faces_{s}"] is not None}
    return Request(
        model_dir=model_dir,
        model=model,
        folders=folders,
        config_file=given["config"],
        values=values,
        load_weights=given["load_weights"],
        reset_trainer=given["reset_trainer"],
    )


class _Signals:
    """Turns signals into requests while a run lasts; a second SIGINT ends at once."""

    def __init__(self, training: Any) -> None:
        self._training = training
        self._before: dict[int, Any] = {}
        self.received = False

    def __enter__(self) -> _Signals:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            # Under nohup the end of the terminal shall not end the run.
            if number and (name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN):
                self._before[number] = signal.signal(number, self._stop)
        if hasattr(signal, "SIGUSR1"):
            save = signal.signal(signal.SIGUSR1, lambda *_: self._training.request_save())
            self._before[signal.SIGUSR1] = save
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _: Any) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = True
        self._training.request_stop()
