"""Normalization layers. All compute in float32 at least, as Keras's do."""

from __future__ import annotations

from typing import Any

import torch
from fs_nn.normalization import AdaInstanceNormalization, InstanceNormalization
from keras import layers
from torch import Tensor
from torch.nn import functional

from fs_executor_torch.layers.base import Lowered, channel_axis, first, last, require, wide

#: As in `fs_nn.normalization`: the lower bound of a variance.
_TINY = 1e-12


class BatchNormalization(Lowered):
    """`keras.layers.BatchNormalization` over the channels."""

    batch_statistics = True
    gamma: Tensor | None
    beta: Tensor | None
    moving_mean: Tensor
    moving_variance: Tensor

    def __init__(self, layer: layers.BatchNormalization) -> None:
        super().__init__(layer)
        require(not layer.renorm and not layer.synchronized)
        rank = layer.input_spec.ndim
        require(rank in (2, 4) and channel_axis(layer.axis, rank) == 1)
        self.momentum, self.epsilon = float(layer.momentum), float(layer.epsilon)
        # A frozen layer gathers no statistics, and freezing may change at any time.
        self._layer = (layer,)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            self.hold(name, getattr(layer, name, None))

    def forward(self, x: Tensor) -> Tensor:
        x = wide(self.cast(x))
        mean, variance = self.moving_mean, self.moving_variance
        if not (self.training and self._layer[0].trainable):
            x = functional.batch_norm(
                x, mean, variance, self.gamma, self.beta, False, 0.0, self.epsilon
            )
            return x.to(self.dtype)
        x, now, inverse = torch.native_batch_norm(
            x, self.gamma, self.beta, None, None, True, 0.0, self.epsilon
        )
        with torch.no_grad():
            spread = inverse.square().reciprocal() - self.epsilon
            mean.copy_(mean * self.momentum + now * (1.0 - self.momentum))
            variance.copy_(variance * self.momentum + spread * (1.0 - self.momentum))
        return x.to(self.dtype)


class LayerNormalization(Lowered):
    """`keras.layers.LayerNormalization` over the channels of each pixel."""

    gamma: Tensor | None
    beta: Tensor | None

    def __init__(self, layer: layers.LayerNormalization) -> None:
        super().__init__(layer)
        require(not layer.rms_scaling and layer.axis in (-1, [-1]))
        self.epsilon = float(layer.epsilon)
        self.hold("gamma", layer.gamma)
        self.hold("beta", layer.beta)

    def forward(self, x: Tensor) -> Tensor:
        x = wide(last(self.cast(x)))
        x = functional.layer_norm(x, x.shape[-1:], self.gamma, self.beta, self.epsilon)
        return first(x.to(self.dtype))


class GroupNormalization(Lowered):
    """`keras.layers.GroupNormalization` over the channels."""

    gamma: Tensor | None
    beta: Tensor | None

    def __init__(self, layer: layers.GroupNormalization) -> None:
        super().__init__(layer)
        require(layer.axis == -1)
        self.groups, self.epsilon = layer.groups, float(layer.epsilon)
        self.hold("gamma", layer.gamma)
        self.hold("beta", layer.beta)

    def forward(self, x: Tensor) -> Tensor:
        x = wide(self.cast(x))
        swapped = x if x.ndim in (2, 4) else x.movedim(-1, 1)
        y = functional.group_norm(swapped, self.groups, self.gamma, self.beta, self.epsilon)
        return (y if x.ndim in (2, 4) else y.movedim(1, -1)).to(self.dtype)


class RMSNormalization(Lowered):
    """`keras.layers.RMSNormalization` over the channels of each pixel."""

    scale: Tensor

    def __init__(self, layer: layers.RMSNormalization) -> None:
        super().__init__(layer)
        require(layer.axis in (-1, [-1]))
        self.epsilon = float(layer.epsilon)
        self.hold("scale", layer.scale)

    def forward(self, x: Tensor) -> Tensor:
        x = wide(last(self.cast(x)))
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.scale
        return first(x.to(self.dtype))


def _standardized(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) / (variance.clamp_min(_TINY).sqrt() + epsilon)


class Instance(Lowered):
    """`fs_nn.normalization.InstanceNormalization`."""

    gamma: Tensor
    beta: Tensor

    def __init__(self, layer: InstanceNormalization) -> None:
        super().__init__(layer)
        self.epsilon = layer.epsilon
        self.hold("gamma", layer.gamma)
        self.hold("beta", layer.beta)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cast(x).float()
        x = _standardized(x, list(range(1, x.ndim)), self.epsilon)
        return (x * self.gamma + self.beta).to(self.dtype)


class AdaInstance(Lowered):
    """`fs_nn.normalization.AdaInstanceNormalization`."""

    def __init__(self, layer: AdaInstanceNormalization) -> None:
        super().__init__(layer)
        self.epsilon = layer.epsilon

    def forward(self, inputs: list[Tensor]) -> Tensor:
        x, beta, gamma = (self.cast(tensor) for tensor in inputs)
        return _standardized(x, [2, 3], self.epsilon) * gamma + beta


TABLE: dict[type[Any], type[Lowered]] = {
    layers.BatchNormalization: BatchNormalization,
    layers.GroupNormalization: GroupNormalization,
    layers.LayerNormalization: LayerNormalization,
    layers.RMSNormalization: RMSNormalization,
    AdaInstanceNormalization: AdaInstance,
    InstanceNormalization: Instance,
}
