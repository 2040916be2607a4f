"""Write a run's own records: ``logs/events.jsonl``, ``logs/run.json`` and ``logs/errors.log``.

``events.jsonl`` has one JSON object per line with at least ``v`` (schema version), ``event``
(started, metrics, preview, saved, save_failed, option, note, warning, rolled_back, finished),
``time`` (Unix seconds) and ``step``. It is rotated by size. A disk that cannot take an event never
stops a run.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from fs_kernel.storage import files

SCHEMA = 1
_ROTATE_BYTES = 32 * 2**20
_KEEP = 3


class EventLog:
    """Append events to ``folder/events.jsonl``.

    Args:
        folder: the model's ``logs`` folder; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.jsonl"
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, step: int, **facts: Any) -> None:
        """Append one event. Numbers JSON lacks (nan) are written as null."""
        record = {"v": SCHEMA, "event": event, "time": round(time.time(), 3), "step": step, **facts}
        try:
            self._path.parent.mkdir(exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > _ROTATE_BYTES:
                self._rotate()
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(_finite(record)) + "\n")
        except OSError:
            return

    def _rotate(self) -> None:
        for number in range(_KEEP - 1, 0, -1):
            older = self._path.with_suffix(f".{number}.jsonl")
            if older.exists():
                older.replace(self._path.with_suffix(f".{number + 1}.jsonl"))
        self._path.replace(self._path.with_suffix(".1.jsonl"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_run_file(folder: Path, session: int, facts: dict[str, Any]) -> None:
    """Write ``run.json`` for the current session, and keep it as ``run_0001.json``."""
    data = files.to_json_bytes(_finite(facts))
    for name in ("run.json", f"run_{session:04d}.json"):
        files.write_atomic(folder / name, data)


def log_error(folder: Path, error: BaseException) -> Path | None:
    """Append a full traceback to ``errors.log``.

    Returns:
        The file, or None if it could not be written.
    """
    path = folder / "errors.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(time.strftime("--- %Y-%m-%d %H:%M:%S\n"))
            stream.writelines(traceback.format_exception(error))
    except OSError:
        return None
    return path


def user_log_folder() -> Path:
    """Return where errors go that belong to no model folder."""
    return files.user_folder("state") or Path(tempfile.mkdtemp(prefix="fs-kernel-"))
