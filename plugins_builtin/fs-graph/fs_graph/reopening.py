"""Write a new model, read it back and compare, before anything depends on its files.

A model that trains for days and then cannot be opened is the most expensive fault there is, so its
graph is read and built again at once, on a device without memory where that is possible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras

from fs_graph.errors import GraphError
from fs_graph.inspection import inspect
from fs_graph.names import changes, descriptions, layers, seed_generators, sub_models, variables
from fs_graph.reading import make, parse, reason_of, write


def require_reopenable(model: keras.Model, custom: Mapping[str, type], device: str) -> None:
    """Check that the graph of a model can be written and read back.

    Keras's names are left as they were; the global random generators may be drawn from.

    Args:
        model: newly built.
        custom: classes beyond plain Keras that it may hold, by name.
        device: where to build what cannot be built without memory.

    Raises:
        GraphError: naming the layer that cannot be read back, and what to do.
    """
    text = _written(model)
    try:
        inspect(parse(text), custom)
    except GraphError as error:
        subject = f"layer '{error.layer}' {error.mend}" if error.mend else f"its graph {error}"
        raise GraphError(subject, error.layer, error.mend) from None
    _compare(model, _read_back(model, text, custom, device))


def _written(model: keras.Model) -> bytes:
    try:
        return json.dumps(write(model), allow_nan=False).encode()
    except Exception as error:
        serialize = keras.saving.serialize_keras_object
        name, reason = _first_failing(
            model, lambda layer: json.dumps(serialize(layer), allow_nan=False), error
        )
        raise GraphError(
            f"{name} cannot be written to a checkpoint ({reason}); "
            "give its class a get_config that returns what __init__ takes, as numbers and text"
        ) from error


def _first_failing(
    model: keras.Model, attempt: Callable[[Any], object], error: Exception
) -> tuple[str, str]:
    """Return the layer that fails alone and why, or the model and the error of the whole."""
    for path, layer in layers(model):
        # A model fails if one of its layers does, and its error says less, so layers come first.
        if not isinstance(layer, keras.Model):
            try:
                attempt(layer)
            except Exception as failed:
                return f"layer '{path[:-1]}' ({type(layer).__name__})", reason_of(failed)
    return "the network", reason_of(error)


def _read_back(
    model: keras.Model, text: bytes, custom: Mapping[str, type], device: str
) -> keras.Model:
    def on(device: str) -> keras.Model:
        with keras.device(device):
            # Keras takes a configuration apart while it reads it, so each attempt has its own.
            return make(json.loads(text), custom)

    # Keras keeps the names it gave, its scopes and its settings per thread: a new thread has none
    # of them, as the process that will open the file, and leaves this one's alone.
    with ThreadPoolExecutor(1, "fs-graph") as thread:
        try:
            return thread.submit(on, "meta").result()
        except Exception:
            pass  # A layer may need numbers to be built, and only PyTorch has such a device.
        try:
            return thread.submit(on, device).result()
        except Exception as error:
            name, reason = thread.submit(_failing_alone, model, custom, error).result()
            raise GraphError(
                f"{name} cannot be built from what it wrote to the checkpoint ({reason}); "
                "its __init__ must take what its get_config returns"
            ) from error


def _failing_alone(
    model: keras.Model, custom: Mapping[str, type], error: Exception
) -> tuple[str, str]:
    def attempt(layer: Any) -> None:
        written = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
        keras.saving.deserialize_keras_object(written, custom_objects=dict(custom))

    return _first_failing(model, attempt, error)


def _compare(model: keras.Model, again: keras.Model) -> None:
    """Check that the model read back is the one that was written."""
    for what, found in _facts.items():
        before, after = found(model), found(again)
        if differing := changes(before, after):
            name, was, now = differing[0]
            raise GraphError(
                f"{what} '{name}' is {was or 'not there'}, but {now or 'not there'} when it is "
                "read back from a checkpoint; a layer's get_config must hold all that its weights "
                "and its outputs depend on"
            )
        if list(before) != list(after):
            raise GraphError(
                f"its {what}s have another order when it is read back from a checkpoint; "
                "make them in build, in an order that does not depend on the first call"
            )


def _classes(model: keras.Model) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, part in {"": model, **sub_models(model)}.items():
        for operation in getattr(part, "operations", part.layers):
            cls = type(operation)
            key = f"{name}/{operation.name}" if name else operation.name
            found[key] = f"{cls.__module__}.{cls.__qualname__}"
    return found


#: Functions whose results, texts by name, must be equal for both models.
_facts: dict[str, Callable[[Any], dict[str, str]]] = {
    "layer": _classes,
    "weight": lambda model: descriptions(variables(model)),
    "random state": lambda model: dict.fromkeys(seed_generators(layers(model)), "there"),
    "output": lambda model: descriptions(
        {str(number): tensor for number, tensor in enumerate(getattr(model, "outputs", None) or ())}
    ),
}
