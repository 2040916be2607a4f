"""What a plugin shares with the rest of the process, and must leave as it found it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

#: Torch sets this at the first step of the first optimizer of a process.
_OF_TORCH = "TORCHINDUCTOR_CACHE_DIR"
#: What torch and Keras begin with, for processes that have not imported them yet.
_BEGIN = {
    "torch's default dtype": "torch.float32",
    "torch's gradient mode": True,
    "Keras's dtype policy": "float32",
    "Keras's floatx": "float32",
}


def settings() -> dict[str, Any]:
    """Return settings of the process, of NumPy, torch and Keras, by what to call them."""
    found = {
        "the working directory": Path.cwd(),
        "the environment": {k: v for k, v in os.environ.items() if k != _OF_TORCH},
        "sys.path": list(sys.path),
        "the level of the root logger": logging.root.level,
        "the handlers of signals": [
            signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        ],
        "NumPy's error handling": np.geterr(),
        **_BEGIN,
    }
    if torch := sys.modules.get("torch"):
        found |= {
            "torch's default dtype": str(torch.get_default_dtype()),
            "torch's default device": torch.get_default_device(),
            "torch's gradient mode": torch.is_grad_enabled(),
            "torch's threads": torch.get_num_threads(),
            "torch's matmul precision": torch.get_float32_matmul_precision(),
            "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
            "cuDNN's benchmark mode": torch.backends.cudnn.benchmark,
        }
    if keras := sys.modules.get("keras"):
        found |= {
            "Keras's dtype policy": keras.config.dtype_policy().name,
            "Keras's floatx": keras.config.floatx(),
            "Keras's epsilon": keras.config.epsilon(),
            "Keras's data format": keras.config.image_data_format(),
        }
    return found


def random_states() -> dict[str, Any]:
    """Return the states of the global random generators, by what to call them."""
    legacy: Any = np.random.get_state()
    found: dict[str, Any] = {
        "Python's random state": random.getstate(),
        "NumPy's random state": (legacy[1].tolist(), legacy[2:]),
    }
    if torch := sys.modules.get("torch"):
        found["torch's random state"] = torch.get_rng_state().tolist()
    return found


@contextlib.contextmanager
def unchanged(who: str, *, draws: bool = False, imports: bool = False) -> Iterator[None]:
    """Hold what runs inside to leaving the process as it was.

    Args:
        who: what to blame.
        draws: whether it may draw from the global random generators.
        imports: whether libraries may be imported, some of which set up their environment and draw.

    Raises:
        AssertionError: naming what was changed.
    """

    def look() -> dict[str, Any]:
        found = settings() | ({} if draws or imports else random_states())
        if imports:
            del found["the environment"]
        return found

    before = look()
    yield
    after = look()
    changed = [_named(name, before, after) for name in before if after[name] != before[name]]
    assert not changed, f"{who} changed {', '.join(changed)}"


def _named(what: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    if what != "the environment":
        return what
    old, new = before[what], after[what]
    names = sorted(key for key in old | new if old.get(key) != new.get(key))
    return f"{what} ({', '.join(names)})"


@contextlib.contextmanager
def nobody_leaves(who: str) -> Iterator[None]:
    """Hold what runs inside to raising instead of ending the process.

    Raises:
        AssertionError: it called ``sys.exit``, ``os._exit`` or ``os.abort``.
    """

    def leave(*arguments: Any) -> None:
        raise AssertionError(f"{who} tried to end the process with os._exit or os.abort")

    with mock.patch("os._exit", leave), mock.patch("os.abort", leave):
        try:
            yield
        except SystemExit as error:
            raise AssertionError(f"{who} called sys.exit({error.code!r})") from error
