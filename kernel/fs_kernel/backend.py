"""Keras and torch, imported late and the right way round.

Keras reads its backend from the environment when it is first imported, so that has to be settled
before. Everything in the kernel that needs either of them asks here.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from fs_kernel.errors import UsageError


def torch() -> Any:
    """Return the torch module."""
    import torch as module

    return module


def select_torch_backend() -> None:
    """Make Keras run on torch, unless it is imported already."""
    if "keras" not in sys.modules:
        chosen = os.environ.get("KERAS_BACKEND")
        if chosen not in (None, "torch"):
            print(f"KERAS_BACKEND={chosen} is set; fs-kernel uses torch", file=sys.stderr)
        os.environ["KERAS_BACKEND"] = "torch"


def keras() -> Any:
    """Return the keras module, on the torch backend.

    Raises:
        UsageError: another backend was chosen before the kernel was asked.
    """
    select_torch_backend()
    import keras as module

    silence_input_structure_warning()
    if module.backend.backend() != "torch":
        raise UsageError(
            f"Keras is already running on {module.backend.backend()}; "
            "import fs_kernel before keras, or set KERAS_BACKEND=torch"
        )
    return module


def silence_input_structure_warning() -> None:
    """Ignore what Keras says of a sub-model that is called with its one input in a list."""
    warnings.filterwarnings("ignore", "The structure of `inputs` doesn't match", UserWarning)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, torch or a GPU says that memory ran out."""
    kind, text = type(error).__name__, str(error)
    return kind in ("MemoryError", "OutOfMemoryError") or "can't allocate memory" in text


def device(name: str) -> Any:
    """Return the torch device for ``training.device``: "auto" is cuda, else mps, else cpu.

    Raises:
        UsageError: there is no such device here.
    """
    module = torch()
    if name == "auto":
        if module.cuda.is_available():
            return module.device("cuda:0")
        return module.device("mps" if module.backends.mps.is_available() else "cpu")
    try:
        chosen = module.device(name)
        module.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device '{name}' cannot be used here: {reason}") from None
    return chosen
