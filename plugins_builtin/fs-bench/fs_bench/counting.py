"""Count the floating point operations and bytes of a network on its Keras graph.

A layer that is called for two sides is counted twice. Only products are counted as operations
(convolutions, dense layers, attention; one multiplication and one addition each): all other
layers are bound by memory, and count in the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import attrs
from fs_kernel import networks
from fs_kernel.types import Network

#: Bytes of a float32.
_SIZE = 4
#: Layers without bytes of their own, which pass on their input's memory or nothing.
_VIEWS = ("InputLayer", "Reshape", "Flatten", "Identity", "GetItem", "Permute")


@attrs.frozen
class Work:
    """The work of one training step, for one face of every side.

    Attributes:
        parameters: weights that train.
        forward: floating point operations of the forward pass.
        backward: the same of the backward pass: as much again for the kernels' gradients, and for
            the inputs' wherever a weight comes before.
        activations: bytes of all layers' outputs.
        swap: floating point operations of one swapped face: one side's path forward.
    """

    parameters: int
    forward: int
    backward: int
    activations: int
    swap: int

    def flops(self, batch: int) -> int:
        """Return the floating point operations of a step."""
        return batch * (self.forward + self.backward)

    @property
    def optimizer_bytes(self) -> int:
        """Bytes of a step of Adam: four arrays read, and all but the gradient written."""
        return 7 * _SIZE * self.parameters

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights in a step: read forward and backward, gradients written."""
        return 3 * _SIZE * self.parameters

    def activation_bytes(self, batch: int) -> int:
        """Return the bytes of outputs (written, read twice) and their gradients (written, read)."""
        return 5 * batch * self.activations

    def step_bytes(self, batch: int) -> int:
        """Return the bytes moved in one step if nothing is fused and nothing is cached."""
        return self.optimizer_bytes + self.weight_bytes + self.activation_bytes(batch)

    def facts(self, batch: int) -> dict[str, float]:
        """Return the work as JSON can hold it."""
        return {
            "parameters": self.parameters,
            "batch": batch,
            "flops_forward": batch * self.forward,
            "flops_step": self.flops(batch),
            "flops_swap_per_face": self.swap,
            "bytes_weights": self.weight_bytes,
            "bytes_activations": self.activation_bytes(batch),
            "bytes_optimizer": self.optimizer_bytes,
            "bytes_step": self.step_bytes(batch),
            "flops_per_byte": self.flops(batch) / self.step_bytes(batch),
        }


def count(network: Network) -> Work:
    """Return a network's work; its weights are not read, so it may be on the meta device."""
    forward = backward = activations = 0
    for node, trains_before in _walk(network.model, False):
        flops = node_flops(node)
        forward += flops
        backward += flops * (_trains(node.operation) + trains_before)
        if type(node.operation).__name__ not in _VIEWS:
            activations += _SIZE * sum(_numbers(tensor) for tensor in node.outputs)
    names = networks.parameters(network)
    parameters = sum(tensor.numel() for tensor in names.values())
    return Work(parameters, forward, backward, activations, _swap_flops(network))


def node_flops(node: Any) -> int:
    """Return the floating point operations of one call of a layer, for one face."""
    layer, kind = node.operation, type(node.operation).__name__
    if kind == "MultiHeadAttention":
        return _attention(node)
    kernels = [v for v in getattr(layer, "weights", ()) if v.name.endswith("kernel")]
    if not kernels:
        return 0
    if kind == "SeparableConv2D":
        numbers = sum(math.prod(kernel.shape) for kernel in kernels)
        return 2 * int(numbers) * _places(node.outputs[0])
    (kernel,) = kernels
    transposed = kind in ("Conv2DTranspose", "Conv1DTranspose")
    places = _places(node.arguments.args[0] if transposed else node.outputs[0])
    return 2 * int(math.prod(kernel.shape)) * places


def _attention(node: Any) -> int:
    """Return the operations of attention: four projections, and two products of all positions."""
    places, layer = _places(node.outputs[0]), node.operation
    kernels = [v for v in layer.weights if v.name.endswith("kernel")]
    projections = sum(2 * math.prod(kernel.shape) * places for kernel in kernels)
    width = layer.num_heads * layer.key_dim
    return int(projections + 2 * 2 * places * places * width)


def _walk(model: Any, trains_before: bool) -> Iterator[tuple[Any, bool]]:
    """Yield every call of a layer below ``model``, and whether a trainable weight precedes it.

    Only then does the backward pass need the gradient of the layer's input.
    """
    behind: set[int] = set()
    for tensor in model.inputs:
        if trains_before:
            behind.add(id(tensor))
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            before = any(id(tensor) in behind for tensor in node.input_tensors)
            if getattr(node.operation, "_nodes_by_depth", None) is not None:
                yield from _walk(node.operation, before)
            else:
                yield node, before
            if before or _trains(node.operation):
                behind.update(id(tensor) for tensor in node.outputs)


def _trains(layer: Any) -> bool:
    return bool(getattr(layer, "trainable_variables", ()))


def _swap_flops(network: Network) -> int:
    from fs_kernel.networks import cut

    side = network.sides[0]
    return sum(node_flops(node) for node, _ in _walk(cut(network, side, side).model, False))


def _places(tensor: Any) -> int:
    """Return the number of pixels or tokens of a channels-last tensor, for one face."""
    return math.prod(size or 1 for size in tensor.shape[1:-1])


def _numbers(tensor: Any) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
