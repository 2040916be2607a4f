"""Call layers and operations that have no lowered form through Keras."""

from __future__ import annotations

from typing import Any

import keras
from torch import Tensor, nn

from fs_executor_torch.layers.base import first, last


class Fallback(nn.Module):
    """A Keras layer, operation or model inside a lowered network.

    Its weights are registered here too, so that they are among the parameters of the whole network;
    but Keras computes with its own.

    Args:
        operation: the layer, operation or model that a node of the graph calls.
    """

    #: It is not known what the operation does with a batch, so the cautious values are used.
    batch_statistics = True
    random = True
    writable = False

    def __init__(self, operation: Any) -> None:
        super().__init__()
        # A Keras layer is a torch module too; the tuple keeps torch from registering it as a child.
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
