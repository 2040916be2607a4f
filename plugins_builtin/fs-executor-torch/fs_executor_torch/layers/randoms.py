"""Layers that draw random numbers while training.

Plain dropout takes torch's generator, as Keras's does. Layers that draw from a seed generator of
their own (noise, spatial dropout) are left to Keras, so that the states a checkpoint holds mean the
same on every path.
"""

from __future__ import annotations

from typing import Any

from keras import layers
from torch import Tensor
from torch.nn import functional

from fs_executor_torch.layers.base import Lowered, require


class Dropout(Lowered):
    """`keras.layers.Dropout` without a seed or a shape of its own."""

    def __init__(self, layer: layers.Dropout) -> None:
        super().__init__(layer)
        require(layer.noise_shape is None and layer.seed is None)
        self.rate = float(layer.rate)
        self.random = self.rate > 0.0

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.cast(x), self.rate, self.training)


TABLE: dict[type[Any], type[Lowered]] = {layers.Dropout: Dropout}
