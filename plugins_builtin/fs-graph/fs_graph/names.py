"""Give stable names to the parts of a model: layers, variables, random states.

A layer or variable is named by the path of sub-models and layers that leads to it
("encoder/conv_128_0_conv2d/kernel"). Keras's ``variable.path`` is not used: two sub-models with
equal layer names share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras


def sub_models(model: keras.Model) -> dict[str, keras.Model]:
    """Return every model nested in ``model``, by name, depth first; without ``model`` itself."""
    found: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found[layer.name] = layer
            found.update(sub_models(layer))
    return found


def layers(root: keras.Layer, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """Yield ``root`` and every layer and model below it once, with the path that leads to it.

    Args:
        root: a model, or a layer that has others.
        prefix: begins every path; the path of ``root`` itself.
    """
    visited: set[int] = set()
    for path, layer in ((prefix, root), *_walk(root, prefix)):
        if id(layer) not in visited:
            visited.add(id(layer))
            yield path, layer


def _walk(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield layers below ``layer`` with their paths; equal names side by side get #2, #3."""
    seen: dict[str, int] = {}
    for child in layer._flatten_layers(include_self=False, recursive=False):
        seen[child.name] = seen.get(child.name, 0) + 1
        name = child.name if seen[child.name] == 1 else f"{child.name}#{seen[child.name]}"
        yield f"{path}{name}/", child
        yield from _walk(child, f"{path}{name}/")


def variables(root: keras.Layer, prefix: str = "") -> dict[str, keras.Variable]:
    """Return every variable once, by the first name that leads to it, in the order of the graph.

    The states of random generators are not among them: see `seed_generators`.
    """
    named: dict[str, Any] = {}
    visited: set[int] = set()
    for path, layer in layers(root, prefix):
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            if id(variable) in visited:
                continue
            visited.add(id(variable))
            name, number = path + variable.name, 1
            while name in named:
                number += 1
                name = f"{path}{variable.name}#{number}"
            named[name] = variable
    return named


def seed_generators(
    named: Iterable[tuple[str, keras.Layer]],
) -> dict[str, keras.random.SeedGenerator]:
    """Return the random generators of layers, by name; no weights file has their states.

    Args:
        named: from `layers`.
    """
    return {
        f"{path}seed{i or ''}": generator
        for path, layer in named
        for i, generator in enumerate(getattr(layer, "_seed_generators", ()))
    }


def descriptions(named: Mapping[str, Any]) -> dict[str, str]:
    """Return shape and type of each variable or tensor as text: "(3, 3, 3, 16) float32"."""
    return {
        name: f"{tuple(each.shape)} {str(each.dtype).removeprefix('torch.')}"
        for name, each in named.items()
    }


def changes(
    before: Mapping[str, str], after: Mapping[str, str]
) -> list[tuple[str, str | None, str | None]]:
    """Return each name whose text differs, with both texts; None where there is none."""
    return [
        (name, before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
