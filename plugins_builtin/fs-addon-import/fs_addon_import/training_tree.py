"""Convert a foreign optimizer into the state that trainers built on fs-nn load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from fs_kernel.types import Tree

from fs_addon_import.foreign import ForeignOptimizer

#: Optimizers that keep each weight's step count as a tensor, and as a plain number.
_TENSOR_STEPS = ("adam", "adamw", "adamax", "nadam", "rms-prop")
_NUMBER_STEPS = ("adabelief",)


def training_tree(optimizer: ForeignOptimizer, shapes: Mapping[str, Sequence[int]]) -> Tree:
    """Return the state for ``Trainer.load_state_dict``; see `fs_nn.optimizers.ManagedOptimizer`.

    Args:
        optimizer: moments by the names of the weights.
        shapes: of the network's weights, by name.
    """
    return {
        "optimizer": {
            "weights": {
                name: {"shape": list(shapes[name]), "values": _values(optimizer, found)}
                for name, found in optimizer.slots.items()
            },
            "steps": optimizer.step,
            "accumulated": {"batches": 0, "of": 1, "gradients": {}},
            "scaler": dict(optimizer.scaler) if optimizer.scaler else None,
            "clipping": None,
            "average": None,
        }
    }


def _values(optimizer: ForeignOptimizer, found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    values: dict[str, Any] = {
        slot: torch.from_numpy(np.asarray(array, np.float32)) for slot, array in found.items()
    }
    step = float(values.pop("step", optimizer.step))
    if optimizer.name in _TENSOR_STEPS:
        values["step"] = torch.tensor(step)
    elif optimizer.name in _NUMBER_STEPS:
        values["step"] = int(step)
    return values
