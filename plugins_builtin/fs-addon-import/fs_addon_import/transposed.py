"""Rewrite transposed convolutions, whose "same" padding is ambiguous.

Without padding ``n`` pixels become ``(n - 1) * stride + kernel``. "same" keeps ``n * stride`` of
them and leaves out ``kernel - stride``: half in front and half behind. Where that is odd,
TensorFlow and newer versions of Keras on torch leave the smaller half out in front. Keras on torch
up to 3.14 leaves out the larger one, which shifts the picture by a pixel. A graph that pads nothing
and then crops means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fs_kernel.errors import ModelFolderError

_CLASS = "Conv2DTranspose"


def front_of_old_keras(surplus: int) -> int:
    """Return the pixels that Keras on torch up to 3.14 leaves out in front."""
    return surplus - surplus // 2


def front_of_this_keras(surplus: int) -> int:
    """Return the pixels that the Keras in use leaves out in front."""
    import keras
    import torch

    layer = keras.layers.Conv2DTranspose(1, 3, 2, "same", use_bias=False)
    with torch.no_grad():
        layer.build((1, 1, 1, 1))
        layer.kernel.assign(torch.arange(9.0).reshape(3, 3, 1, 1))
        first = float(layer(torch.ones(1, 1, 1, 1))[0, 0, 0, 0])
    return surplus // 2 if first == 0.0 else surplus - surplus // 2


def split(model: dict[str, Any], front: Callable[[int], int]) -> None:
    """Replace "same" padding by no padding and a crop after the layer.

    Args:
        model: the config of a Functional model; changed in place. Models in it stay as they are.
        front: returns how many of all pixels left out "same" leaves out in front.
    """
    made, names = [], {}
    for layer in model["layers"]:
        made.append(layer)
        if not is_ambiguous(layer):
            continue
        config = layer["config"]
        name, crop = config["name"], f"{config['name']}_crop"
        names[name] = crop
        made[-1] = {**layer, "config": {**config, "padding": "valid"}}
        cropping = [[front(surplus), surplus - front(surplus)] for surplus in _surplus(config)]
        calls = [
            {"args": [_tensor(name, node)], "kwargs": {}}
            for node in range(len(layer["inbound_nodes"]))
        ]
        settings = {"name": crop, "dtype": config.get("dtype"), "cropping": cropping}
        made.append(_object(crop, "Cropping2D", settings, calls))
    if names:
        _rename(model, made, names)


def join(model: dict[str, Any]) -> None:
    """Undo `split` where the crop equals what "same" leaves out in Keras up to 3.14.

    Args:
        model: the config of a Functional model; changed in place. Models in it stay as they are.
    """
    by_name = {layer["config"].get("name"): layer for layer in model["layers"]}
    joined, names = {}, {}
    for name, layer in by_name.items():
        crop = by_name.get(f"{name}_crop")
        same = {**layer, "config": {**layer["config"], "padding": "same"}}
        if crop is None or crop["class_name"] != "Cropping2D" or not is_ambiguous(same):
            continue
        halves = [(front_of_old_keras(s), s // 2) for s in _surplus(same["config"])]
        if [tuple(pair) for pair in crop["config"]["cropping"]] == halves:
            joined[name], names[f"{name}_crop"] = same, name
    made = [joined.get(name, layer) for name, layer in by_name.items() if name not in names]
    if names:
        _rename(model, made, names)


def _rename(model: dict[str, Any], layers: list[Any], names: dict[str, str]) -> None:
    """Set a model's layers, and redirect inputs from the keys of ``names`` to the values."""
    crops = set(names.values())
    model["layers"] = [
        layer
        if layer.get("name") in crops and layer["class_name"] == "Cropping2D"
        else {**layer, "inbound_nodes": _points(layer.get("inbound_nodes", []), names)}
        for layer in layers
    ]
    for key in ("input_layers", "output_layers"):
        model[key] = _points(model[key], names)


def _points(value: Any, names: dict[str, str]) -> Any:
    """Return nodes whose ``[name, node, tensor]`` point to the renamed layers."""
    if isinstance(value, dict):
        return {key: _points(item, names) for key, item in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if len(value) == 3 and isinstance(value[0], str):
        return [names.get(value[0], value[0]), *value[1:]]
    return [_points(item, names) for item in value]


def is_ambiguous(layer: Any) -> bool:
    """Return whether a layer's result depends on the version of Keras that runs it."""
    if not isinstance(layer, dict) or layer.get("class_name") != _CLASS:
        return False
    config = layer.get("config")
    if not isinstance(config, dict) or config.get("padding") != "same":
        return False
    if config.get("output_padding") is not None or any(
        size != 1 for size in _pair(config.get("dilation_rate", 1))
    ):
        return False
    return any(surplus > 0 and surplus % 2 for surplus in _surplus(config))


def _surplus(config: dict[str, Any]) -> list[int]:
    kernel, strides = _pair(config.get("kernel_size")), _pair(config.get("strides", 1))
    return [max(size - step, 0) for size, step in zip(kernel, strides, strict=True)]


def _pair(value: Any) -> tuple[int, int]:
    both = (value, value) if isinstance(value, int) else tuple(value or ())
    if len(both) != 2 or not all(isinstance(size, int) for size in both):
        raise ModelFolderError(f"holds {str(value)[:40]!r} where sizes of a convolution should be")
    return both


def _tensor(name: str, node: int) -> dict[str, Any]:
    shape = [None] * 4
    history = {"shape": shape, "dtype": "float32", "keras_history": [name, node, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


def _object(name: str, class_name: str, config: dict[str, Any], calls: list[Any]) -> dict[str, Any]:
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "config": config,
        "registered_name": None,
        "name": name,
        "inbound_nodes": calls,
    }
