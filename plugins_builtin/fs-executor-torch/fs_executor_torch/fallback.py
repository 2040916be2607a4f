"""Whatever has no lowered form is called as Keras has it."""

from __future__ import annotations

from typing import Any

import keras
from torch import Tensor, nn

from fs_executor_torch.layers.base import first, last


class Fallback(nn.Module):
    """A Keras layer, operation or model inside of a lowered network.

    Its weights are registered here too, so that they are among the parameters of the whole; but
    what is computed with are Keras's own.

    Args:
        operation: what a node of the graph calls.
    """

    #: Nobody knows what it does with a batch.
    batch_statistics = True
    random = True
    writable = False

    def __init__(self, operation: Any) -> None:
        super().__init__()
        # A Keras layer is a torch module as well: in a tuple it does not become a part of this one.
        self._operation = (operation,)
        for number, variable in enumerate(getattr(operation, "weights", ())):
            self.register_parameter(f"weight_{number}", variable._value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        operation = self._operation[0]
        args, kwargs = keras.tree.map_structure(_outward, (args, kwargs))
        if "training" in getattr(operation, "_call_context_args", ()):
            kwargs["training"] = self.training
        tensors = [t for t in keras.tree.flatten((args, kwargs)) if isinstance(t, Tensor)]
        with keras.device(str(tensors[0].device)):
            result = operation(*args, **kwargs)
        return keras.tree.map_structure(_inward, result)


def _outward(value: Any) -> Any:
    return last(value) if isinstance(value, Tensor) else value


def _inward(value: Any) -> Any:
    return first(value) if isinstance(value, Tensor) else value
