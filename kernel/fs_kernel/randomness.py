"""Counted randomness: every draw of the data path is keyed by what it is for, never by who asks.

`generator(seed, step, side, slot, "warp")` gives the same numbers in any worker, process or order
of calls, so a resumed or differently parallelised run sees the same pictures. The global generators
of torch, numpy and Python (dropout, initializers) are captured and restored as they are.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from fs_kernel.types import Tree


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return a generator of its own for one purpose.

    Args:
        seed: the run's seed.
        key: what the numbers are for, for example ``(step, side, slot, "warp")``.

    Returns:
        A Philox generator whose 128-bit key is a BLAKE2b hash of ``seed`` and ``key``.
    """
    text = "\x1f".join(str(part) for part in (seed, *key))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python."""
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def seed_apart(seed: int, step: int, rank: int, states: Iterable[Any]) -> None:
    """Let the global generators of a process that shares a run differ from those of process 0.

    Args:
        seed: the run's seed.
        step: steps done.
        rank: of the process; 0 stays as it is.
        states: of Keras seed generators, integer tensors ``(2,)``: seed and count.
    """
    if rank == 0:
        return
    numbers = generator(seed, "process", step, rank)
    seed_everything(int(numbers.integers(2**31)))
    for state in states:
        state[0] = int(numbers.integers(2**31))


def capture(device: torch.device) -> Tree:
    """Return the states of the global generators, as a tree a checkpoint can hold."""
    import torch

    version, numbers, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, cached = legacy
    tree: Tree = {
        "torch": torch.get_rng_state(),
        "numpy": {
            "name": name,
            "keys": keys.astype(np.int64),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "python": {"version": version, "numbers": list(numbers), "gauss": gauss},
    }
    if device.type == "cuda":
        tree["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        tree["mps"] = torch.mps.get_rng_state()
    return tree


def restore(tree: Tree, device: torch.device) -> None:
    """Set the global generators to what `capture` saw. A device it did not see is left alone."""
    import torch

    torch.set_rng_state(tree["torch"])
    state = tree["numpy"]
    keys = np.asarray(state["keys"]).astype(np.uint32)
    np.random.set_state(
        (state["name"], keys, state["position"], state["has_gauss"], state["cached"])
    )
    state = tree["python"]
    random.setstate((state["version"], tuple(state["numbers"]), state["gauss"]))
    if device.type == "cuda" and "cuda" in tree:
        torch.cuda.set_rng_state(tree["cuda"], device)
    elif device.type == "mps" and "mps" in tree:
        torch.mps.set_rng_state(tree["mps"])
