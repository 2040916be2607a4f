"""Read the losses of model folders that were trained before a history of losses was kept.

Their event log is read once and kept, thinned, in ``logs/imported_history.json``: event logs are
rotated away.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import read_history, read_json, to_json_bytes, write_atomic

NAME = "imported_history.json"
#: Points kept per side.
MOST = 2048
#: Parsing more of ``events.jsonl`` than this would take noticeable time from training.
_READ_BYTES = 16 * 2**20
_ROTATED = re.compile(r"events\.(\d+)\.jsonl")
_MAX_STEP = 2**53

Curves = dict[str, tuple[np.ndarray, np.ndarray]]


class Losses:
    """The losses of a model's whole life.

    Args:
        model_dir: the model folder.
    """

    def __init__(self, model_dir: Path) -> None:
        self._model_dir = model_dir
        self._older = _older(model_dir / "logs")

    def read(self, step: int) -> Curves:
        """Return per side ``(steps, losses)`` up to a step, each ``(n,)`` float64."""
        curves = read_history(self._model_dir)
        first = min((steps[0] for steps, _ in curves.values()), default=math.inf)
        for side, (steps, losses) in self._older.items():
            before = (steps < first) & (steps <= step)
            more = curves.get(side, (np.empty(0), np.empty(0)))
            curves[side] = (
                np.concatenate([steps[before], more[0]]),
                np.concatenate([losses[before], more[1]]),
            )
        return {side: curve for side, curve in curves.items() if len(curve[0])}


def _older(logs: Path) -> Curves:
    with contextlib.suppress(OSError, ModelFolderError, ValueError, TypeError, AttributeError):
        return {
            str(side): (np.array(steps, np.float64), np.array(losses, np.float64))
            for side, (steps, losses) in read_json(logs / NAME).items()
            if len(steps) == len(losses)
        }
    if (logs / "history.jsonl").exists():
        return {}
    curves = import_events(logs)
    if curves:
        kept = {side: [values.tolist() for values in curve] for side, curve in curves.items()}
        with contextlib.suppress(OSError):
            write_atomic(logs / NAME, to_json_bytes(kept))
    return curves


def import_events(logs: Path) -> Curves:
    """Return the losses in ``events.jsonl`` and its rotated files.

    Of long logs only every second, third, ... reading is taken; broken lines are passed over, and
    of steps that were trained again the last reading counts.

    Args:
        logs: the model's ``logs``; may be missing.
    """
    found: dict[str, dict[int, float]] = {}
    for step, losses in _readings(logs):
        for side, loss in losses.items():
            points = found.setdefault(side, {})
            while points and next(reversed(points)) >= step:
                points.popitem()
            points[step] = loss
    return {
        side: _thinned(np.array(list(points), np.float64), np.array(list(points.values())))
        for side, points in found.items()
    }


def _thinned(steps: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `MOST` points: the means of as many neighbors as it takes."""
    starts = np.arange(0, len(steps), -(-len(steps) // MOST))
    counts = np.diff([*starts, len(steps)])
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(losses, starts) / counts


def _readings(logs: Path) -> Iterator[tuple[int, dict[str, float]]]:
    try:
        rotated = {int(m[1]): p for p in logs.iterdir() if (m := _ROTATED.fullmatch(p.name))}
    except OSError:
        return
    paths = [*(rotated[number] for number in sorted(rotated, reverse=True)), logs / "events.jsonl"]
    every = 1 + sum(path.stat().st_size for path in paths if path.is_file()) // _READ_BYTES
    lines = (line for path in paths for line in _lines(path) if '"metrics"' in line)
    for count, line in enumerate(lines, 1):
        reading = _reading(line) if count % every == 0 else None
        if reading is not None:
            yield reading


def _lines(path: Path) -> Iterator[str]:
    with (
        contextlib.suppress(OSError),
        path.open(encoding="utf-8", errors="replace", newline="\n") as lines,
    ):
        yield from lines


def _reading(line: str) -> tuple[int, dict[str, float]] | None:
    try:
        event: dict[str, Any] = json.loads(line)
        step, given = event["step"], event["losses"].items()
        losses = {str(side): float(loss) for side, loss in given if math.isfinite(loss or math.nan)}
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return None
    known = event.get("event") == "metrics" and type(step) is int and 0 <= step < _MAX_STEP
    return (step, losses) if known and losses else None
