"""Write a network's graph in faceswap 3's terms: the inverse of `fs_addon_import.keras3.graph`."""

from __future__ import annotations

from typing import Any

from fs_kernel.errors import ModelFolderError
from fs_kernel.types import Network

from fs_addon_import import transposed

#: Our classes that faceswap has too: their module there, and the settings it adds.
_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "PixelShuffler": ("lib.model.layers", {"data_format": "channels_last"}),
    "ReflectionPadding2D": ("lib.model.layers", {}),
    "QuickGELU": ("lib.model.layers", {}),
    "InstanceNormalization": ("lib.model.normalization", {}),
    "AdaInstanceNormalization": ("lib.model.normalization", {}),
}
#: Stands for our initializers: weights come from the file, so none is ever called.
_INITIALIZERS = ("ICNR", "ConvolutionAware")
#: Settings of initializers that newer versions of Keras write and older ones do not read.
_NEWER = ("input_axes", "output_axes")
_HE = {"module": "keras.initializers", "class_name": "HeUniform", "config": {"seed": None}}


def config_of(built: Network) -> dict[str, Any]:
    """Return the content of ``config.json``.

    Args:
        built: the network, in float32; it may be on Keras's meta device.

    Raises:
        ModelFolderError: the network has layers that faceswap does not have.
    """
    import keras

    node = keras.saving.serialize_keras_object(built.model)
    made: dict[str, Any] = _value(node)
    made["compile_config"] = {}
    _settle_transposed(made)
    return made


def _settle_transposed(model: dict[str, Any]) -> None:
    """Keep "same" padding only where faceswap's Keras and ours agree on it."""
    for layer in model["config"]["layers"]:
        if layer["class_name"] in ("Functional", "Sequential"):
            _settle_transposed(layer)
    if model["class_name"] == "Functional":
        if transposed.front_of_this_keras(1) != transposed.front_of_old_keras(1):
            transposed.split(model["config"], transposed.front_of_this_keras)
        transposed.join(model["config"])


def _value(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {
        key: _value(item)
        for key, item in value.items()
        if key != "shared_object_id" and not (key in _NEWER and item is None)
    }
    name, module = made.get("class_name"), str(made.get("module"))
    if not module.startswith("fs_nn"):
        return made
    if name in _INITIALIZERS:
        return {**_HE, "registered_name": None}
    if name not in _CLASSES:
        raise ModelFolderError(f"faceswap has no layer '{name}', which this network has")
    made["module"], added = _CLASSES[name]
    made["registered_name"] = name
    made["config"] = {**made["config"], **added}
    return made
