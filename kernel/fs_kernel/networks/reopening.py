"""A new network is read back before its first step.

A network that trains for days and then cannot be opened is the most expensive fault a model plugin
can have, so its graph is written, read and built again at once, on a device without memory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fs_kernel import backend, randomness
from fs_kernel.errors import ModelFolderError, PluginError
from fs_kernel.networks.construction import require_storable
from fs_kernel.networks.enumeration import (
    OWNED,
    descriptions,
    layers,
    seed_states,
    sub_models,
    weights,
)
from fs_kernel.networks.inspection import Inspection, NotAllowedError
from fs_kernel.networks.serialization import make, parse, reason_of, to_json

if TYPE_CHECKING:
    import torch

    from fs_kernel.types import Network


def require_reopenable(network: Network, custom: Mapping[str, type], who: str) -> None:
    """Check that a checkpoint of this network could be opened again.

    The states of random generators and Keras's names are left as they were.

    Args:
        network: newly built.
        custom: classes by name, from the model plugin.
        who: built it.

    Raises:
        PluginError: naming the layer that cannot be read back, and what to do.
    """
    require_storable(weights(network), who)
    if name := next((path for path, _ in layers(network) if path.startswith(OWNED)), None):
        raise PluginError(f"{who}: layer '{name[:-1]}': names that begin with {OWNED} are taken")
    text = _written(network, who)
    try:
        data = parse(text, f"{who}: its graph")
    except ModelFolderError as error:
        raise PluginError(str(error)) from None
    try:
        Inspection(custom).check(data["model"])
    except NotAllowedError as error:
        subject = f"layer '{error.layer}' {error.mend}" if error.mend else f"its graph {error}"
        raise PluginError(f"{who}: {subject}") from None
    with _undisturbed(_device_of(network)):
        again = _rebuilt(network, text, custom, who)
    _compare(network, again, who)


def _written(network: Network, who: str) -> bytes:
    try:
        return json.dumps(to_json(network), allow_nan=False).encode()
    except Exception as error:
        serialize = backend.keras().saving.serialize_keras_object
        name, reason = _first_failing(
            network, lambda layer: json.dumps(serialize(layer), allow_nan=False), error
        )
        raise PluginError(
            f"{who}: {name} cannot be written to a checkpoint ({reason}); "
            "give its class a get_config that returns what __init__ takes, as numbers and text"
        ) from error


def _first_failing(network: Network, attempt: Any, error: Exception) -> tuple[str, str]:
    """Return the layer that fails alone and why, or the network and the error of the whole."""
    keras = backend.keras()
    for path, layer in layers(network):
        # A model fails with its layers, and says less.
        if not isinstance(layer, keras.Model):
            try:
                attempt(layer)
            except Exception as failed:
                return f"layer '{path[:-1]}' ({type(layer).__name__})", reason_of(failed)
    return "the network", reason_of(error)


def _device_of(network: Network) -> torch.device:
    torch = backend.torch()
    found = next((w.device for w in weights(network).values()), None)
    return torch.device("cpu") if found is None or found.type == "meta" else found


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Leave the global random generators as they were."""
    before = randomness.capture(device)
    try:
        yield
    finally:
        randomness.restore(before, device)


def _rebuilt(network: Network, text: bytes, custom: Mapping[str, type], who: str) -> Network:
    keras = backend.keras()

    def on(device: str) -> Network:
        with keras.device(device):
            # Keras takes a configuration apart while it reads it, so each attempt has its own.
            return make(json.loads(text), custom, who)

    # Keras keeps the names it gave, its scopes and its settings per thread: a new thread has none
    # of them, as the process that will open the checkpoint, and leaves this one's alone.
    with ThreadPoolExecutor(1, "fs-reopen") as thread:
        try:
            return thread.submit(on, "meta").result()
        except Exception:
            pass  # A layer may need numbers to be built.
        try:
            return thread.submit(on, str(_device_of(network))).result()
        except Exception as error:
            name, reason = thread.submit(_failing_alone, network, custom, error).result()
            raise PluginError(
                f"{who}: {name} cannot be built from what it wrote to the checkpoint ({reason}); "
                "its __init__ must take what its get_config returns"
            ) from error


def _failing_alone(
    network: Network, custom: Mapping[str, type], error: Exception
) -> tuple[str, str]:
    saving = backend.keras().saving

    def attempt(layer: Any) -> None:
        written = json.loads(json.dumps(saving.serialize_keras_object(layer)))
        saving.deserialize_keras_object(written, custom_objects=dict(custom))

    return _first_failing(network, attempt, error)


def _compare(network: Network, again: Network, who: str) -> None:
    """Check that the network read back is the one that was written."""
    seeds, new_seeds = (dict.fromkeys(seed_states(n), "there") for n in (network, again))
    compared = {
        "layer": (_classes(network), _classes(again)),
        "weight": (descriptions(weights(network)), descriptions(weights(again))),
        "random state": (seeds, new_seeds),
    }
    for what, (before, after) in compared.items():
        for name in [*before, *(name for name in after if name not in before)]:
            if before.get(name) != after.get(name):
                raise PluginError(
                    f"{who}: {what} '{name}' is {before.get(name, 'not there')}, but "
                    f"{after.get(name, 'not there')} when it is read back from a checkpoint; "
                    "a layer's get_config must hold all that its weights depend on"
                )
        if list(before) != list(after):
            raise PluginError(
                f"{who}: its {what}s have another order when it is read back from a checkpoint; "
                "make them in build, in an order that does not depend on the first call"
            )


def _classes(network: Network) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, model in {"": network.model, **sub_models(network.model)}.items():
        for operation in getattr(model, "operations", model.layers):
            cls = type(operation)
            key = f"{name}/{operation.name}" if name else operation.name
            found[key] = f"{cls.__module__}.{cls.__qualname__}"
    return found
