"""A network's graph in the words of faceswap 3, the other way of `fs_addon_import.keras3.graph`."""

from __future__ import annotations

from typing import Any

from fs_kernel.errors import ModelFolderError
from fs_kernel.types import Network

from fs_addon_import import transposed

#: Our classes that it has too: their module there, and what it adds to their settings.
_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "PixelShuffler": ("lib.model.layers", {"data_format": "channels_last"}),
    "ReflectionPadding2D": ("lib.model.layers", {}),
    "QuickGELU": ("lib.model.layers", {}),
    "InstanceNormalization": ("lib.model.normalization", {}),
    "AdaInstanceNormalization": ("lib.model.normalization", {}),
}
#: Initialisers are never asked again, so that one of Keras's stands for ours.
_INITIALIZERS = ("ICNR", "ConvolutionAware")
#: What newer versions of Keras write for initialisers, and older ones do not read.
_NEWER = ("input_axes", "output_axes")
_HE = {"module": "keras.initializers", "class_name": "HeUniform", "config": {"seed": None}}


def config_of(built: Network) -> dict[str, Any]:
    """The content of ``config.json``.

    Args:
        built: in float32; it may lie on Keras's meta device.

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
    """Say "same" only where its Keras and ours mean the same by it."""
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
