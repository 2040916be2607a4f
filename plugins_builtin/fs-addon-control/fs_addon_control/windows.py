"""Read single keys from a Windows console."""

from __future__ import annotations

import msvcrt
import time
from typing import Any

#: A first character of these announces the code of a key without a letter (an arrow, F1).
_PREFIXES = ("\x00", "\xe0")
_PAUSE = 0.05
#: Type checkers know its functions on Windows only.
_console: Any = msvcrt


class WindowsTerminal:
    """The process's console; see `fs_addon_control.keys.Terminal`. Its settings stay untouched."""

    def read(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while not _console.kbhit():
            if time.monotonic() >= end:
                return ""
            time.sleep(_PAUSE)
        typed = ""
        while _console.kbhit():
            key = _console.getwch()
            if key in _PREFIXES:
                _console.getwch()
            else:
                typed += key
        return typed

    def restore(self) -> None:
        return
