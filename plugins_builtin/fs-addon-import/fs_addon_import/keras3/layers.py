"""Translate faceswap's layers into those of Keras and fs-nn.

Its classes are known here by name only: a module path in a file is compared with a table and never
imported. Each entry turns a layer's config into a class of Keras or fs-nn that computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fs_kernel.errors import ModelFolderError

#: Module paths of faceswap's own classes begin with these.
HOME = "lib.model"
_OPS = ("keras.src.ops.numpy", "keras.ops", "keras.src.ops")
_KEPT = ("name", "trainable", "dtype")

Config = Mapping[str, Any]
Made = tuple[str, str, dict[str, Any]]


def _refuse(config: Config, what: str) -> ModelFolderError:
    return ModelFolderError(f"layer '{config.get('name')}' has {what}, which is not known here")


def _keep(config: Config, *names: str) -> dict[str, Any]:
    return {name: config[name] for name in (*_KEPT, *names) if name in config}


def _ours(name: str, *settings: str, home: str = "fs_nn.layers") -> Callable[[Config], Made]:
    return lambda config: (home, name, _keep(config, *settings))


def _plain(name: str) -> Callable[[Config], Made]:
    return lambda config: ("keras.layers", name, dict(config))


def _pixel_shuffler(config: Config) -> Made:
    if config.get("data_format", "channels_last") not in (None, "channels_last"):
        raise _refuse(config, "its channels first")
    return "fs_nn.layers", "PixelShuffler", _keep(config, "size")


def _instance_norm(config: Config) -> Made:
    if config.get("axis") is not None:
        raise _refuse(config, f"axis {config['axis']}")
    if not (config.get("center", True) and config.get("scale", True)):
        raise _refuse(config, "no scale or no offset")
    return "fs_nn.normalization", "InstanceNormalization", _keep(config, "epsilon")


def _group_norm(config: Config) -> Made:
    if config.get("axis", -1) not in (-1, 3):
        raise _refuse(config, f"axis {config['axis']}")
    made = {
        "groups": config.get("group", 32),
        "epsilon": 1e-6,
        **_keep(config, "groups", "epsilon"),
    }
    return "keras.layers", "GroupNormalization", made


def _rms_norm(config: Config) -> Made:
    if config.get("bias") or config.get("partial", -1) not in (-1, 1, -1.0, 1.0, 0, 0.0, None):
        raise _refuse(config, "an offset or a part only")
    return "keras.layers", "RMSNormalization", {"epsilon": 1e-8, **_keep(config, "epsilon")}


def _resize(config: Config) -> Made:
    made = {"size": config.get("size", 2), "interpolation": config.get("interpolation", "nearest")}
    return "keras.layers", "UpSampling2D", {**_keep(config), **made}


def _swish(config: Config) -> Made:
    if config.get("beta", 1.0) != 1.0:
        raise _refuse(config, f"beta {config['beta']}")
    return "keras.layers", "Activation", {**_keep(config), "activation": "silu"}


def _scalar(config: Config) -> Made:
    return rescaling(config, str(config.get("operation")), config.get("value"))


def rescaling(config: Config, operation: str, value: Any) -> Made:
    """Return arithmetic with one number as Keras's ``Rescaling``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse(config, f"arithmetic with {str(value)[:40]!r}")
    if operation == "truediv" and value == 0:
        raise _refuse(config, "a division by 0")
    scale, offset = {
        "multiply": lambda: (float(value), 0.0),
        "truediv": lambda: (1.0 / value, 0.0),
        "add": lambda: (1.0, float(value)),
        "subtract": lambda: (1.0, -float(value)),
    }.get(operation, lambda: (0.0, 0.0))()
    if scale == 0.0 and operation not in ("multiply",):
        raise _refuse(config, f"the operation {operation[:40]!r}")
    return "keras.layers", "Rescaling", {**_keep(config), "scale": scale, "offset": offset}


_LAYERS: dict[str, Callable[[Config], Made]] = {
    "Conv2D": _plain("Conv2D"),
    "DepthwiseConv2D": _plain("DepthwiseConv2D"),
    "PixelShuffler": _pixel_shuffler,
    "ReflectionPadding2D": _ours("ReflectionPadding2D", "stride", "kernel_size"),
    "InstanceNormalization": _instance_norm,
    "AdaInstanceNormalization": _ours(
        "AdaInstanceNormalization", "epsilon", home="fs_nn.normalization"
    ),
    "GroupNormalization": _group_norm,
    "RMSNormalization": _rms_norm,
    "KResizeImages": _resize,
    "Swish": _swish,
    "QuickGELU": _ours("QuickGELU", home="fs_nn.vit"),
    "ScalarOp": _scalar,
}

_OPERATIONS = {
    "Multiply": "multiply",
    "TrueDivide": "truediv",
    "Divide": "truediv",
    "Add": "add",
    "Subtract": "subtract",
}


def is_foreign(module: Any) -> bool:
    """Return whether a module path is faceswap's."""
    return isinstance(module, str) and (module == HOME or module.startswith(f"{HOME}."))


def is_operation(module: Any, name: Any) -> bool:
    """Return whether this names arithmetic rather than a layer (both have an ``Add``)."""
    return module in _OPS and name in _OPERATIONS


def operation(name: str) -> str:
    """Return the operation that a class stands for."""
    return _OPERATIONS[name]


def translate(class_name: str, config: Config) -> Made:
    """Return a layer of faceswap as ``(module, class name, config)``.

    Raises:
        ModelFolderError: there is none of that name, or a setting is unknown.
    """
    if class_name not in _LAYERS:
        raise ModelFolderError(
            f"holds a layer of class {class_name[:80]!r}, which is not known here"
        )
    return _LAYERS[class_name](config)


def initializer(class_name: str, config: Config) -> tuple[str, dict[str, Any]]:
    """Return class and settings of an initializer of faceswap, which is never called here.

    Raises:
        ModelFolderError: there is none of that name.
    """
    if class_name == "ICNR":
        return "ICNR", {k: config[k] for k in ("initializer", "scale") if k in config}
    if class_name == "ConvolutionAware":
        kept = {k: config[k] for k in ("eps_std", "seed") if k in config}
        return "ConvolutionAware", {**kept, "initialized": True}
    raise ModelFolderError(f"holds an object of class {class_name[:80]!r}, which is not known here")
