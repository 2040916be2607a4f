"""Catch lines for the user from plugins and libraries: `warnings` and `logging`, during a run.

Everything a user should read takes one way: a `Message` to the event bus. Libraries and plugins
that know nothing of a run call `warnings.warn` or `logging`; these are turned into messages that
say who spoke.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fs_kernel import backend
from fs_kernel.plugins.loading import speaking
from fs_kernel.types import Message


class _Handler(logging.Handler):
    def __init__(self, tell: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            text = record.getMessage().strip()
            source = str(speaking.get() or record.name)
            self._tell(Message("warning", " ".join(text.split()), source))


@contextlib.contextmanager
def captured_messages(tell: Callable[[Message], None]) -> Iterator[None]:
    """Pass on what is said with `warnings.warn` and `logging` inside, in any thread.

    Deprecations and the like are left to Python's own filters: they are for authors.

    Args:
        tell: takes each message; called in the thread that speaks, possibly more than once with the
            same text.
    """
    handler = _Handler(tell)

    def show(message: Any, category: Any, filename: str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        tell(Message("warning", text, str(speaking.get() or _module_of(filename))))

    with warnings.catch_warnings():
        for kind in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", kind)
        backend.silence_input_structure_warning()
        warnings.showwarning = show
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


def _module_of(filename: str) -> str:
    """Return the top-level package of the module that warned."""
    path = Path(filename)
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name.partition(".")[0]
    return path.stem
