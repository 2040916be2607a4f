"""Read single keys from a Windows console."""

from __future__ import annotations

import msvcrt
import time

#: A first character of these announces the code of a key without a letter (an arrow, F1).
_PREFIXES = ("\x00", "\xe0")
_PAUSE = 0.05


class WindowsTerminal:
    """The process's console; see `fs_addon_control.keys.Terminal`. Its settings stay untouched."""

    def read(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while not msvcrt.kbhit():
            if time.monotonic() >= end:
                return ""
            time.sleep(_PAUSE)
        typed = ""
        while msvcrt.kbhit():
            key = msvcrt.getwch()
            if key in _PREFIXES:
                msvcrt.getwch()
            else:
                typed += key
        return typed

    def restore(self) -> None:
        return
