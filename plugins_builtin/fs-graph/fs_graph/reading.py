"""Write a model as JSON, and read it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras

from fs_graph.errors import GraphError
from fs_graph.inspection import inspect

MAX_BYTES = 64 * 2**20


def write(model: keras.Model) -> dict[str, Any]:
    """Return the graph of a model, without its weights, as Keras serializes it."""
    found: dict[str, Any] = keras.saving.serialize_keras_object(model)
    return found


def parse(text: bytes) -> Any:
    """Read JSON within a limit of size.

    Raises:
        GraphError: it is larger than `MAX_BYTES`, or not JSON.
    """
    if len(text) > MAX_BYTES:
        raise GraphError(f"is larger than {MAX_BYTES >> 20} MiB; refused")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"is not valid JSON: {error}") from None


def read(node: Any, custom: Mapping[str, type]) -> keras.Model:
    """Return the model of a graph, on Keras's device, with new weights.

    Args:
        node: from `write` by way of JSON; Keras takes it apart.
        custom: classes beyond plain Keras that the graph may hold, by name.

    Raises:
        GraphError: the graph holds something that is not allowed, or Keras cannot build it.
    """
    inspect(node, custom)
    try:
        return make(node, custom)
    except Exception as error:
        raise GraphError(f"cannot be built: {reason_of(error)}") from error


def make(node: Any, custom: Mapping[str, type]) -> keras.Model:
    """Return the model of a graph that was inspected; any error is Keras's own."""
    model = keras.saving.deserialize_keras_object(node, custom_objects=dict(custom))
    if not isinstance(model, keras.Model):
        raise ValueError("its root is not a model")
    return model


def reason_of(error: BaseException) -> str:
    """Return an error as one line: its type and the first line it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
