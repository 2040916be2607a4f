"""Collect facts of a network without faces or a model folder, for ``fs model summary``.

The network is built on Keras's "meta" device, so that it takes no memory and little time.
"""

from __future__ import annotations

from typing import Any

import attrs
from fs_kernel import networks
from fs_kernel.training import ResolvedRun
from fs_kernel.types import Network


@attrs.frozen
class Summary:
    """Facts of a network.

    Attributes:
        network: name of the network.
        parameters: number of its parameters, shared ones counted once.
        sub_models: the same per sub-model.
        inputs: ``(h, w, c)`` per side.
        outputs: side, kind and shape of each output.
        layers: per sub-model, ``(name, class, output shape, parameters)`` of its layers.
        batch_size: the batch that ``training_bytes`` is for.
        training_bytes: weights, gradients, two moments, and every layer's output kept for the
            backward pass, four bytes each: an estimate without the library's temporary memory.
    """

    network: str
    parameters: int
    sub_models: dict[str, int]
    inputs: dict[str, tuple[int, ...]]
    outputs: list[dict[str, Any]]
    layers: dict[str, list[tuple[str, str, str, int]]]
    batch_size: int
    training_bytes: int


def summarize(parts: ResolvedRun) -> Summary:
    """Build the network that the options describe, without memory, and return its facts."""
    with networks.building(0, "meta"):
        built = networks.build(parts.plugins.model)
    models = networks.sub_models(built.model)
    shapes = [tuple(tensor.shape[1:]) for tensor in built.model.inputs]
    batch = parts.config["training"].batch_size
    return Summary(
        network=built.model.name,
        parameters=networks.count(built),
        sub_models={name: model.count_params() for name, model in models.items()},
        inputs=dict(zip(built.sides, shapes, strict=True)),
        outputs=[
            {**attrs.asdict(output), "shape": list(tensor.shape[1:])}
            for output, tensor in zip(built.outputs, built.model.outputs, strict=True)
        ],
        layers={name: [_row(layer) for layer in model.layers] for name, model in models.items()},
        batch_size=batch,
        training_bytes=4 * (4 * networks.count(built) + batch * _activations(built)),
    )


def _row(layer: Any) -> tuple[str, str, str, int]:
    shape = getattr(layer.output, "shape", None)
    text = "x".join(map(str, shape[1:])) if shape is not None else "several"
    return layer.name, type(layer).__name__, text, layer.count_params()


def _activations(built: Network) -> int:
    """Return the size of all outputs for one face of every side, shared layers once per call."""
    total = 0
    for node in _nodes(built.model):
        for tensor in node.outputs:
            count = 1
            for size in tensor.shape[1:]:
                count *= size or 1
            total += count
    return total


def _nodes(model: Any) -> list[Any]:
    nodes = []
    for layer_nodes in model._nodes_by_depth.values():
        for node in layer_nodes:
            inner = getattr(node.operation, "_nodes_by_depth", None)
            nodes += _nodes(node.operation) if inner is not None else [node]
    return nodes
