"""A network's graph as JSON, and back, without letting the file choose what code runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fs_kernel import backend
from fs_kernel.errors import ModelFolderError
from fs_kernel.networks.construction import check
from fs_kernel.networks.inspection import Inspection, NotAllowedError
from fs_kernel.types import Network, Output

FORMAT = 1
MAX_BYTES = 64 * 2**20


def to_json(network: Network) -> dict[str, Any]:
    """Return the graph of the swapped network and what its inputs and outputs are.

    Owned networks are not in it: who owns one builds it.
    """
    keras = backend.keras()
    return {
        "format": FORMAT,
        "sides": list(network.sides),
        "color_order": network.color_order,
        "outputs": [{"side": o.side, "kind": o.kind, "size": o.size} for o in network.outputs],
        "mixed_layers": list(network.mixed_layers),
        "model": keras.saving.serialize_keras_object(network.model),
        # Held the graphs of owned networks once; kept for readers that expect the key.
        "extra": {},
    }


def parse(text: bytes, source: str) -> dict[str, Any]:
    """Read graph JSON within a limit of size.

    Raises:
        ModelFolderError: it is too large, or not a graph.
    """
    if len(text) > MAX_BYTES:
        raise ModelFolderError(f"{source} is larger than {MAX_BYTES >> 20} MiB; refused")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{source} is not valid JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ModelFolderError(f"{source} is not a network graph of format {FORMAT}")
    return data


def inspect(node: Any, custom: Mapping[str, type], source: str) -> None:
    """Check every object of a graph before anything is made from it.

    Raises:
        ModelFolderError: naming the first class that is not allowed.
    """
    try:
        Inspection(custom).check(node)
    except NotAllowedError as error:
        raise ModelFolderError(f"{source} {error}; refused") from None


def make(data: Mapping[str, Any], custom: Mapping[str, type], source: str) -> Network:
    """Return the network of a graph that was inspected; any error is Keras's own.

    What old graphs hold under "extra" is not looked at.
    """
    keras = backend.keras()
    outputs = [Output(o["side"], o["kind"], int(o["size"])) for o in data["outputs"]]
    model = keras.saving.deserialize_keras_object(data["model"], custom_objects=dict(custom))
    if not isinstance(model, keras.Model):
        raise ValueError("its root is not a model")
    mixed = tuple(map(str, data["mixed_layers"]))
    built = Network(model, outputs, {}, tuple(data["sides"]), data["color_order"], mixed)
    return check(built, source)


def from_json(data: Mapping[str, Any], custom: Mapping[str, type], source: str) -> Network:
    """Return the network of a parsed graph. Call inside `fs_kernel.networks.building`.

    Args:
        data: from `parse`.
        custom: classes by name, from the model plugin.
        source: what to call the file in errors.

    Raises:
        ModelFolderError: the graph holds what it may not, or Keras cannot build it.
    """
    inspect(data.get("model"), custom, source)
    try:
        return make(data, custom, source)
    except Exception as error:
        raise ModelFolderError(f"{source} cannot be built: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """Return an error as one line: its type and the first line it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
