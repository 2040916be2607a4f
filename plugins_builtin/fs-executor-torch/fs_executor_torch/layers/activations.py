"""Activations: those that are layers, and those that a layer ends with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import torch
from fs_nn.vit import QuickGELU
from keras import activations, layers
from torch import Tensor
from torch.nn import functional

from fs_executor_torch.layers.base import Lowered, NotLoweredError, require

Function = Callable[[Tensor], Tensor]

#: Torch's equivalents of Keras's elementwise functions.
FUNCTIONS: dict[Any, Function] = {
    activations.elu: functional.elu,
    activations.gelu: functional.gelu,
    activations.hard_sigmoid: functional.hardsigmoid,
    activations.hard_silu: functional.hardswish,
    activations.leaky_relu: lambda x: functional.leaky_relu(x, 0.2),
    activations.relu: functional.relu,
    activations.relu6: functional.relu6,
    activations.selu: functional.selu,
    activations.sigmoid: torch.sigmoid,
    activations.silu: functional.silu,
    activations.softplus: functional.softplus,
    activations.softsign: functional.softsign,
    activations.tanh: torch.tanh,
}


def function_of(activation: Any) -> Function | None:
    """Return torch's equivalent of a Keras activation function; None for the linear one.

    Raises:
        NotLoweredError: torch has none.
    """
    if activation is None or activation is activations.linear:
        return None
    if activation not in FUNCTIONS:
        raise NotLoweredError
    return FUNCTIONS[activation]


class Activation(Lowered):
    """`keras.layers.Activation`."""

    pixelwise = True

    def __init__(self, layer: layers.Activation) -> None:
        super().__init__(layer)
        self.function = function_of(layer.activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cast(x)
        return x if self.function is None else self.function(x)


class LeakyReLU(Lowered):
    """`keras.layers.LeakyReLU`."""

    pixelwise = True

    def __init__(self, layer: layers.LeakyReLU) -> None:
        super().__init__(layer)
        self.slope = float(layer.negative_slope)
        # Only then does the result have the input's sign, which the backward pass needs.
        self.inplace = self.slope > 0.0

    def forward(self, x: Tensor, inplace: bool = False) -> Tensor:
        return functional.leaky_relu(self.cast(x), self.slope, inplace)


class ReLU(Lowered):
    """`keras.layers.ReLU` with a threshold of 0."""

    def __init__(self, layer: layers.ReLU) -> None:
        super().__init__(layer)
        slope, top = float(layer.negative_slope or 0.0), layer.max_value
        require(not layer.threshold and (top is None or slope == 0.0))
        self.slope, self.top = slope, top
        self.pixelwise = True

    def forward(self, x: Tensor) -> Tensor:
        x = self.cast(x)
        if self.top is not None:
            return functional.hardtanh(x, 0.0, float(self.top))
        return functional.leaky_relu(x, self.slope) if self.slope else functional.relu(x)


class PReLU(Lowered):
    """`keras.layers.PReLU`; its slopes are ``(h, w, c)``, with ones for shared axes."""

    alpha: Tensor

    def __init__(self, layer: layers.PReLU) -> None:
        super().__init__(layer)
        self.hold("alpha", layer.alpha)

    def forward(self, x: Tensor) -> Tensor:
        x, alpha = self.cast(x), self.alpha.to(self.dtype)
        if alpha.ndim == 3:
            alpha = alpha.permute(2, 0, 1)
        return functional.relu(x) - alpha * functional.relu(-x)


class Quick(Lowered):
    """`fs_nn.vit.QuickGELU`."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.cast(x)
        return x * torch.sigmoid(1.702 * x)


class Softmax(Lowered):
    """`keras.layers.Softmax` over the channels."""

    def __init__(self, layer: layers.Softmax) -> None:
        super().__init__(layer)
        require(layer.axis == -1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.cast(x), 1 if x.ndim == 4 else -1)


TABLE: dict[type[keras.layers.Layer], type[Lowered]] = {
    layers.Activation: Activation,
    layers.LeakyReLU: LeakyReLU,
    layers.PReLU: PReLU,
    layers.ReLU: ReLU,
    layers.Softmax: Softmax,
    QuickGELU: Quick,
}
