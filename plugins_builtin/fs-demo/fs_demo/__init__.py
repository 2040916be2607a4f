"""Implement ``fs demo``: draw two people, train ``original`` lowmem on them, swap, and score.

It runs the commands that a user would type, prints each of them, and measures before and after.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import click
from fs_kernel.cli import run_cli, say
from fs_kernel.errors import FsError, UsageError

#: Exit code of a training that was stopped by hand, on which the demo stops too.
INTERRUPTED = 130


class StepError(FsError):
    """A command of the demo failed; it has printed the reason itself."""

    def __init__(self, command: Sequence[str], code: int) -> None:
        super().__init__(f"the demo stopped at: fs {' '.join(command)}")
        self.exit_code = code


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="demo")
@click.option("--faces", default=200, show_default=True, type=click.IntRange(25, 5000))
@click.option("-i", "--iterations", default=300, show_default=True, type=click.IntRange(1))
@click.option("-b", "--batch-size", default=4, show_default=True, type=click.IntRange(1, 256))
@click.option("--seed", default=0, show_default=True, type=int, help="Of people and training.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON on stdout.")
def demo(
    folder: Path, faces: int, iterations: int, batch_size: int, seed: int, as_json: bool
) -> None:
    """Draw two synthetic people into FOLDER, train on them, swap A for B, score the swap.

    A second call continues the existing model; -i is the total.
    """
    start = time.monotonic()
    people, model = folder / "people", folder / "model"
    if not people.exists():
        drawing = folder / ".people"
        _fs("faces", "demo", str(drawing), f"--count={faces}", f"--seed={seed}")
        drawing.rename(people)
    before = _read_scores(folder)
    if before is None:
        _save_untrained(people, model, batch_size, seed)
        before = _scores(folder, "before")
        (folder / "before.json").write_text(json.dumps(before))
    training = _training(people, model, batch_size, seed)
    _fs("run", *training, "-i", str(iterations), "--exit-on-preempt", str(INTERRUPTED))
    after = _scores(folder, "after")
    sheet = _swap_sheet(folder)
    minutes = (time.monotonic() - start) / 60
    paths = [model / "previews" / "latest.png", sheet]
    facts = {
        "before": before,
        "after": after,
        "minutes": minutes,
        "pictures": list(map(str, paths)),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    say(f"\n{iterations} steps, {minutes:.1f} minutes in all; PSNR over the face:")
    for name, meaning in (("a2a", "A > A against A"), ("a2b", "A > B against the true B")):
        say(f"  {meaning:26} {before[name]:6.2f} dB  ->  {after[name]:6.2f} dB")
    say("look at:")
    for path in paths:
        click.echo(path)


#: Options for a training of minutes instead of days: a small network, no changes of color that it
#: would have to learn to ignore, and a loss that gets colors right early.
OPTIONS = {
    "model.original.lowmem": True,
    "optimizer.learning_rate": 1e-4,
    "augmentation.color": False,
    "loss.loss_weight_2": 400,
}


def _training(people: Path, model: Path, batch_size: int, seed: int) -> list[str]:
    settings = [f"--set={name}={json.dumps(value)}" for name, value in OPTIONS.items()]
    return [
        *("-A", str(people / "A"), "-B", str(people / "B"), "-m", str(model)),
        *("-b", str(batch_size), "--seed", str(seed), *settings),
    ]


def _fs(*command: str, quiet: bool = False) -> str:
    """Run one ``fs`` command in this process.

    Returns:
        What it printed on stdout, if ``quiet``.

    Raises:
        StepError: it failed.
    """
    if not quiet:
        say(f"\n$ fs {' '.join(command)}")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed) if quiet else contextlib.nullcontext():
        code = run_cli(command)
    if code:
        raise StepError(command, code)
    return printed.getvalue()


def _save_untrained(people: Path, model: Path, batch_size: int, seed: int) -> None:
    from fs_kernel import open_run

    with open_run(
        model,
        "original",
        a=people / "A",
        b=people / "B",
        addons=[],
        set={**OPTIONS, "training.seed": seed, "training.batch_size": batch_size},
    ) as run:
        run.save(final=True)


def _scores(folder: Path, when: str) -> dict[str, float]:
    """Return the PSNR in dB over the face of "a2a" against A and of "a2b" against the true B."""
    people, model = folder / "people", folder / "model"
    found = {}
    for direction, truth in (("a2a", "A"), ("a2b", "B_true")):
        output = folder / f"{when}_{direction}"
        _fs("swap", str(model), str(people / "A"), str(output), "--direction", direction)
        text = _fs("faces", "compare", str(output), str(people / truth), "--json", quiet=True)
        found[direction] = float(json.loads(text)["face_psnr"])
    return found


def _read_scores(folder: Path) -> dict[str, float] | None:
    if not (folder / "model" / "checkpoint.json").exists():
        return None
    try:
        scores = json.loads((folder / "before.json").read_text())
        return {name: float(scores[name]) for name in ("a2a", "a2b")}
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder} holds half a demo; remove it or name another") from error


def _swap_sheet(folder: Path, count: int = 8) -> Path:
    """Write a sheet of a few faces, with rows of A, A > B and the true B, and return its path."""
    import cv2
    import numpy as np

    names = sorted(path.name for path in (folder / "people" / "A").glob("*.png"))
    chosen = names[:: max(len(names) // count, 1)][:count]
    folders = (folder / "people" / "A", folder / "after_a2b", folder / "people" / "B_true")
    columns = [[cv2.imread(str(each / name)) for name in chosen] for each in folders]
    sheet = np.hstack([np.vstack(column) for column in zip(*columns, strict=True)])
    for i, title in enumerate(("A", "A > B", "true B")):
        row = sheet.shape[0] // 3 * i + 24
        cv2.putText(sheet, title, (8, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 4)
        cv2.putText(sheet, title, (8, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1)
    path = folder / "swap_sheet.png"
    cv2.imwrite(str(path), sheet)
    return path
