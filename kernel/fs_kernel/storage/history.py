"""Keep the losses of a model's whole life, thinned, in ``logs/history.jsonl``.

Each line is a JSON object: ``first`` and ``step`` are the first and the last step it stands for,
``count`` is how many readings it joins, and ``losses`` holds their mean per side. There are at most
`MOST` records; when there are more, neighbors are joined, so the resolution halves and the file
stays below a megabyte. It is never rotated away.

A record is appended when it is complete. A line whose ``first`` lies at or before a step of earlier
lines replaces those: training went back. Lines that cannot be read are passed over.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from fs_kernel.storage import files

NAME = "history.jsonl"
#: Records kept; even, so that joining neighbors leaves none over.
MOST = 2048
#: Parsing more of ``events.jsonl`` than this would take noticeable time from training.
_READ_BYTES = 16 * 2**20
_ROTATED = re.compile(r"events\.(\d+)\.jsonl")
_MAX_STEP = 2**53

Losses = dict[str, float]
Curves = dict[str, tuple[np.ndarray, np.ndarray]]


@attrs.define
class _Record:
    first: int
    step: int
    count: int
    losses: Losses

    def join(self, other: _Record) -> None:
        """Take in the record that follows."""
        count = self.count + other.count
        for side, loss in other.losses.items():
            # Weighted in this way, means of the largest floats do not overflow.
            share = other.count / count
            self.losses[side] = self.losses[side] * (1 - share) + loss * share
        self.step, self.count = other.step, count

    def to_line(self) -> str:
        return json.dumps(attrs.asdict(self)) + "\n"


class LossHistory:
    """The history of one model, for the process that trains it. Safe from any thread.

    A disk that cannot take it never stops a run: what could not be written is written with the
    next record.

    Args:
        folder: the model's ``logs`` folder. If it holds no history, one is made of its event log.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        found = _stored(self._path)
        #: Whether the file must be written again as a whole before anything can be appended.
        self._stale = found is None or not found[1]
        self._records = _thinned(import_events(folder)) if found is None else found[0]
        self._per_record = max((record.count for record in self._records), default=1)
        with self._lock:
            if found is None and self._records:
                self._write()
            self._thin()

    def add(self, step: int, losses: Mapping[str, float | None]) -> None:
        """Add one reading. A loss that is not finite is left out, and a reading without any.

        A step at or before the last one means that training went back: what lay beyond is dropped.
        """
        finite = _finite(dict(losses))
        if not finite:
            return
        new = _Record(step, step, 1, finite)
        with self._lock:
            if self._records and self._records[-1].step >= step:
                self._drop_after(step - 1)
            last = self._records[-1] if self._records else None
            if last and last.count < self._per_record and last.losses.keys() == finite.keys():
                last.join(new)
            else:
                if last and last.count < self._per_record:
                    self._append(last)  # Of other sides: it stays as short as it is.
                self._records.append(new)
            if not self._thin() and self._records[-1].count >= self._per_record:
                self._append(self._records[-1])

    def go_back(self, step: int) -> None:
        """Drop what lies after ``step``: training continues from there."""
        with self._lock:
            self._drop_after(step)

    def close(self) -> None:
        """Write the last record too if it is incomplete. More can be added afterwards."""
        with self._lock:
            if self._records and self._records[-1].count < self._per_record:
                self._append(self._records[-1])

    def read(self) -> Curves:
        """Return per side ``(steps, losses)``, each ``(n,)`` float64; no side without a reading."""
        with self._lock:
            return _curves(self._records)

    def _drop_after(self, step: int) -> None:
        kept = len(self._records)
        while kept and self._records[kept - 1].step > step:
            kept -= 1
        if kept < len(self._records):
            del self._records[kept:]
            self._write()

    def _thin(self) -> bool:
        if len(self._records) <= MOST:
            return False
        self._records = _thinned(self._records)
        self._per_record = max(record.count for record in self._records)
        self._write()
        return True

    def _append(self, record: _Record) -> None:
        if self._stale:
            self._write()
            return
        try:
            # "r+" fails where the file was removed, and then it is written again as a whole.
            with self._path.open("r+b") as stream:
                stream.seek(0, 2)
                stream.write(record.to_line().encode())
        except OSError:
            self._stale = True

    def _write(self) -> None:
        self._stale = True
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self._path, "".join(r.to_line() for r in self._records).encode())
            self._stale = False


def read_history(model_dir: Path) -> Curves:
    """Return the losses of a model's whole life, also while it is trained.

    Returns:
        Per side ``(steps, losses)``, each ``(n,)`` float64 with ascending steps, the middle of the
        steps that a mean stands for. Empty without any; of a folder without a history file, what
        its event log still holds.
    """
    logs = model_dir / "logs"
    found = _stored(logs / NAME)
    return _curves(_thinned(import_events(logs)) if found is None else found[0])


def import_events(logs: Path) -> list[_Record]:
    """Return a record per reading in ``events.jsonl`` and its rotated files, oldest first.

    Args:
        logs: the model's ``logs``; may be missing.

    Of long logs only every second, third, ... reading is taken; broken lines are passed over.
    """
    try:
        rotated = {int(m[1]): p for p in logs.iterdir() if (m := _ROTATED.fullmatch(p.name))}
    except OSError:
        return []
    paths = [*(rotated[number] for number in sorted(rotated, reverse=True)), logs / "events.jsonl"]
    total = sum(path.stat().st_size for path in paths if path.is_file())
    every, count = 1 + total // _READ_BYTES, 0
    records: list[_Record] = []
    for line in _lines(paths):
        if '"metrics"' not in line:
            continue
        count += 1
        event = _parsed(line) if count % every == 0 else None
        if event and event.get("event") == "metrics":
            step, losses = _step(event.get("step")), _finite(event.get("losses"))
            if step is not None and losses:
                _place(records, _Record(step, step, 1, losses))
    return records


def _stored(path: Path) -> tuple[list[_Record], bool] | None:
    """Return the records of a file, and whether new ones may be appended; None without a file."""
    if not path.is_file():
        return None
    records: list[_Record] = []
    clean, line = True, "\n"
    for line in _lines([path]):
        record = _record(_parsed(line))
        if record is None:
            clean = False
        else:
            clean = clean and not (records and records[-1].step >= record.first)
            _place(records, record)
    # A line that was cut off must not be continued by the next one.
    return records, clean and line.endswith("\n")


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
                yield from lines
        except OSError:
            continue


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _record(data: dict[str, Any] | None) -> _Record | None:
    if data is None:
        return None
    first, step, count = (_step(data.get(key)) for key in ("first", "step", "count"))
    losses = _finite(data.get("losses"))
    if first is None or step is None or not count or first > step or not losses:
        return None
    return _Record(first, step, count, losses)


def _step(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < _MAX_STEP else None


def _finite(losses: Any) -> Losses:
    if not isinstance(losses, dict):
        return {}
    found = {}
    for side, loss in losses.items():
        try:
            value = float(loss)
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(value):
            found[side] = value
    return found


def _place(records: list[_Record], record: _Record) -> None:
    while records and records[-1].step >= record.first:
        records.pop()
    records.append(record)


def _thinned(records: list[_Record]) -> list[_Record]:
    """Return at most `MOST` records: neighbors of the same sides joined, as often as it takes."""
    while len(records) > MOST:
        joined: list[_Record] = []
        for number, record in enumerate(records):
            last = joined[-1] if joined and number % 2 else None
            if last is not None and last.losses.keys() == record.losses.keys():
                last.join(record)
            else:
                joined.append(record)
        if len(joined) == len(records):
            # Sides that change with every reading cannot be joined.
            return records[-MOST:]
        records = joined
    return records


def _curves(records: list[_Record]) -> Curves:
    curves: Curves = {}
    for side in dict.fromkeys(side for record in records for side in record.losses):
        own = [record for record in records if side in record.losses]
        steps = np.array([(record.first + record.step) / 2 for record in own])
        curves[side] = steps, np.array([record.losses[side] for record in own])
    return curves
