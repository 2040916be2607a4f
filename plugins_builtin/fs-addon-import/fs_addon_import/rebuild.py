"""Build a network from a rewritten graph, without memory for its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from fs_kernel import networks
from fs_kernel.errors import ModelFolderError
from fs_kernel.types import ColorOrder, Network, Output, OutputKind

_INPUT = "face_in_"
_KINDS: dict[int, OutputKind] = {3: "face", 1: "mask"}


def custom_objects() -> dict[str, type]:
    """Return every class beyond plain Keras that a rewritten graph may hold, by name."""
    from fs_nn.layers import application_objects, custom_objects

    return {**custom_objects(), **application_objects()}


def rebuild(config: Mapping[str, Any], source: str, color_order: ColorOrder = "bgr") -> Network:
    """Return the network of a rewritten graph, on Keras's meta device.

    The first half of the outputs is side A's, the second side B's; faces have three channels and
    masks one.

    Args:
        config: the serialized root.
        source: what to call the file in errors.
        color_order: of inputs and outputs.

    Raises:
        ModelFolderError: it holds classes that are not allowed, or cannot be built.
    """
    import fs_graph

    custom = custom_objects()
    with networks.building(0, "meta"):
        try:
            model = fs_graph.read(copy.deepcopy(dict(config)), custom)
            sides = _sides(model)
            outputs = _outputs(model, sides)
        except fs_graph.GraphError as error:
            raise ModelFolderError(f"{source} {error}") from error
        except Exception as error:
            lines = str(error).strip().splitlines()
            reason = next((line for line in lines if line), type(error).__name__)
            raise ModelFolderError(f"{source} cannot be built: {reason[:300]}") from error
    built = Network(model, outputs, {}, sides, color_order)
    return networks.check(built, source)


def _sides(model: Any) -> tuple[str, ...]:
    names = [tensor.name for tensor in model.inputs]
    if len(names) != 2:
        raise ValueError(f"it has {len(names)} inputs, not one for each of two people")
    if all(name.startswith(_INPUT) for name in names):
        return tuple(name.removeprefix(_INPUT) for name in names)
    return ("a", "b")


def _outputs(model: Any, sides: tuple[str, ...]) -> list[Output]:
    tensors = model.outputs
    if not tensors or len(tensors) % len(sides):
        raise ValueError(f"it has {len(tensors)} outputs for {len(sides)} sides")
    each = len(tensors) // len(sides)
    outputs = []
    for number, tensor in enumerate(tensors):
        shape = tuple(tensor.shape)
        if len(shape) != 4 or shape[-1] not in _KINDS or shape[1] != shape[2] or not shape[1]:
            raise ValueError(f"output {number} has shape {shape}, which is neither face nor mask")
        outputs.append(Output(sides[number // each], _KINDS[shape[-1]], shape[1]))
    return outputs
