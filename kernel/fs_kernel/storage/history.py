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
import threading
from collections.abc import Mapping
from pathlib import Path

import attrs
import numpy as np

from fs_kernel.storage import files

NAME = "history.jsonl"
#: Records kept; even, so that joining neighbors leaves none over.
MOST = 2048
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

    @classmethod
    def parse(cls, line: str) -> _Record | None:
        """Return the record of a line; None if it cannot be read."""
        try:
            data = json.loads(line)
            record = cls(data["first"], data["step"], data["count"], _finite(data["losses"]))
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ):
            return None
        whole = all(type(number) is int for number in (record.first, record.step, record.count))
        fits = whole and 0 <= record.first <= record.step < _MAX_STEP and record.count > 0
        return record if fits and record.losses else None


class LossHistory:
    """The history of one model, for the process that trains it. Safe from any thread.

    A disk that cannot take it never stops a run: what could not be written is written with the
    next record.

    Args:
        folder: the model's ``logs`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._records, appendable = _load(self._path)
        #: Whether the file must be written again as a whole before anything can be appended.
        self._stale = not appendable
        self._per_record = max((record.count for record in self._records), default=1)
        self._thin()

    def add(self, step: int, losses: Mapping[str, float | None]) -> None:
        """Add one reading. A loss that is not finite is left out, and a reading without any.

        A step at or before the last one means that training went back: what lay beyond is dropped.
        """
        finite = _finite(losses)
        if not finite:
            return
        new = _Record(step, step, 1, finite)
        with self._lock:
            self._drop_after(step - 1)
            last = self._records[-1] if self._records else None
            unfinished = last is not None and last.count < self._per_record
            if last and unfinished and last.losses.keys() == finite.keys():
                last.join(new)
            else:
                if last and unfinished:
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
        if self._records and self._records[-1].step > step:
            while self._records and self._records[-1].step > step:
                self._records.pop()
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
        steps that a mean stands for. Empty without any.
    """
    return _curves(_load(model_dir / "logs" / NAME)[0])


def _load(path: Path) -> tuple[list[_Record], bool]:
    """Return the records of a file, and whether more may be appended to it as it is."""
    records: list[_Record] = []
    clean, line = True, "\n"
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                record = _Record.parse(line)
                while record and records and records[-1].step >= record.first:
                    records.pop()
                    clean = False
                if record:
                    records.append(record)
                clean = clean and record is not None
    except OSError:
        clean = False
    # A line that was cut off must not be continued by the next one.
    return records, clean and line.endswith("\n")


def _finite(losses: Mapping[str, float | None]) -> Losses:
    return {s: float(x) for s, x in losses.items() if x is not None and math.isfinite(x)}


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
