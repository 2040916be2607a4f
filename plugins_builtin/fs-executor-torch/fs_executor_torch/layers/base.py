"""The base class and helpers of lowered layers.

Inside a lowered network a tensor of rank 4 is always ``(n, c, h, w)``, in any memory format;
tensors of other ranks are as Keras has them. A lowered layer holds the weights of its Keras layer,
the very same parameters, as attributes of its own and reads them at each call.
"""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch import Tensor, nn


class NotLoweredError(Exception):
    """This layer, or this setting of it, has no lowered form; Keras runs it."""


def require(condition: bool) -> None:
    """Leave a layer to Keras unless ``condition`` holds.

    Raises:
        NotLoweredError: it does not.
    """
    if not condition:
        raise NotLoweredError


class Lowered(nn.Module):
    """A Keras layer as torch operations.

    Args:
        layer: the built Keras layer.

    Attributes:
        batch_statistics: pictures of one batch affect one another, or a call has side effects: such
            a layer is neither given both sides in one batch nor run a second time for its
            gradients.
        random: a call draws random numbers while training.
        writable: the result is this layer's own memory, and its backward does not need it.
        inplace: the layer takes ``inplace=True``, which lets it write its result over its (first)
            input.
        pixelwise: every number of the result follows from one number of the input, wherever in the
            picture that is.
    """

    batch_statistics = False
    random = False
    writable = False
    inplace = False
    pixelwise = False

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__()
        require(getattr(layer, "quantization_mode", None) is None)
        require(not getattr(layer, "lora_enabled", False))
        self.dtype = getattr(torch, layer.compute_dtype)
        self.autocast = layer.autocast

    def hold(self, name: str, variable: Any) -> None:
        """Hold the weight of a Keras variable, or None, as attribute ``name``."""
        self.register_parameter(name, None if variable is None else variable._value)

    def cast(self, x: Tensor) -> Tensor:
        """Return ``x`` in the dtype that the layer computes in, as Keras casts a layer's inputs."""
        if x.dtype is self.dtype or not self.autocast or not x.is_floating_point():
            return x
        return x.to(self.dtype)


def wide(x: Tensor) -> Tensor:
    """Return ``x`` in float32, or unchanged if it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def last(x: Tensor) -> Tensor:
    """Return a view with channels last, for operations along the last axis."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def first(x: Tensor) -> Tensor:
    """Return a view with channels first; the inverse of `last`."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def channel_axis(axis: int, rank: int) -> int:
    """Return the axis inside a lowered network for Keras's ``axis`` of a tensor of this rank."""
    axis %= rank
    return (0, 2, 3, 1)[axis] if rank == 4 else axis
