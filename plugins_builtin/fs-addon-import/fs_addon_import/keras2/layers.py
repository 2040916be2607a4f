"""Translate layers of Keras 2 into layers of the current Keras.

Most keep their class and settings. Those whose name or rule changed are handled below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from fs_kernel.errors import ModelFolderError

from fs_addon_import.keras2 import custom
from fs_addon_import.keras2.settings import Settings

#: Classes that compute the same, and the settings that are passed on.
_SAME = {
    "Activation": "activation",
    "Add": "",
    "Average": "",
    "Concatenate": "axis",
    "Conv2D": "filters kernel_size strides padding data_format dilation_rate groups activation "
    "use_bias",
    "Cropping2D": "cropping data_format",
    "Dense": "units activation use_bias",
    "Dot": "axes normalize",
    "Dropout": "rate noise_shape",
    "ELU": "alpha",
    "Flatten": "data_format",
    "GaussianDropout": "rate",
    "GaussianNoise": "stddev",
    "GlobalAveragePooling2D": "data_format keepdims",
    "GlobalMaxPooling2D": "data_format keepdims",
    "MaxPooling2D": "pool_size strides padding data_format",
    "Maximum": "",
    "Minimum": "",
    "Multiply": "",
    "Normalization": "axis mean variance invert",
    "PReLU": "shared_axes",
    "Permute": "dims",
    "ReLU": "max_value negative_slope threshold",
    "RepeatVector": "n",
    "Rescaling": "scale offset",
    "Reshape": "target_shape",
    "Softmax": "axis",
    "SpatialDropout2D": "rate data_format",
    "Subtract": "",
    "UpSampling2D": "size data_format interpolation",
    "ZeroPadding2D": "padding data_format",
}

#: Functions that both versions of Keras compute alike. Not "hard_sigmoid": its slope changed.
_ACTIVATIONS = frozenset(
    [
        "elu",
        "exponential",
        "gelu",
        "linear",
        "relu",
        "selu",
        "sigmoid",
        "silu",
        "softmax",
        "softplus",
        "softsign",
        "swish",
        "tanh",
    ]
)


def make(class_name: str, config: Mapping[str, Any]) -> list[keras.layers.Layer]:
    """Return the layers that together compute what a layer of a file does, in order of calling.

    Args:
        class_name: as the file has it; a package prefix ("Custom>") is ignored.
        config: the layer's settings.

    Raises:
        ModelFolderError: the class or a setting is unknown.
    """
    kind, settings = class_name.rpartition(">")[2], Settings(config)
    if kind in _SAME:
        given = settings.take(*_SAME[kind].split())
        made = [getattr(keras.layers, kind)(**_checked(given, settings.name), **settings.base)]
    elif kind in _CHANGED:
        made = _CHANGED[kind](settings)
    elif kind in custom.MAKERS:
        made = [custom.MAKERS[kind](settings)]
    else:
        raise ModelFolderError(f"layer '{settings.name}' is of the unknown class {kind}; refused")
    settings.finish()
    return made


def _checked(given: dict[str, Any], name: str) -> dict[str, Any]:
    activation = given.get("activation", "linear")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ModelFolderError(f"layer '{name}' has activation {activation}: not supported")
    return given


def _batch_norm(settings: Settings) -> list[keras.layers.Layer]:
    axis = settings.get("axis", -1)
    settings.expect(renorm=False, fused=True)
    if isinstance(axis, list):
        (axis,) = axis
    given = settings.take("momentum", "epsilon", "center", "scale")
    return [keras.layers.BatchNormalization(axis=axis, **given, **settings.base)]


def _layer_norm(settings: Settings) -> list[keras.layers.Layer]:
    given = settings.take("axis", "epsilon", "center", "scale")
    return [keras.layers.LayerNormalization(**given, **settings.base)]


def _leaky_relu(settings: Settings) -> list[keras.layers.Layer]:
    slope = settings.get("alpha", 0.3)
    return [keras.layers.LeakyReLU(negative_slope=slope, **settings.base)]


def _depthwise(settings: Settings) -> list[keras.layers.Layer]:
    settings.expect(groups=1)
    keys = "kernel_size strides padding data_format dilation_rate activation use_bias"
    given = _checked(settings.take("depth_multiplier", *keys.split()), settings.name)
    return [keras.layers.DepthwiseConv2D(**given, **settings.base)]


def _separable(settings: Settings) -> list[keras.layers.Layer]:
    settings.expect(groups=1)
    keys = "kernel_size strides padding data_format dilation_rate activation use_bias"
    given = settings.take("filters", "depth_multiplier", *keys.split())
    return [keras.layers.SeparableConv2D(**_checked(given, settings.name), **settings.base)]


def _transposed(settings: Settings) -> list[keras.layers.Layer]:
    """Return a transposed convolution padded by TensorFlow's rule, as one or two layers.

    Without padding ``n`` pixels become ``(n - 1) * stride + kernel``. "same" keeps
    ``n * stride`` of these: it leaves out ``kernel - stride`` pixels, half of them (rounded down)
    in front, the rest behind. Keras on torch splits an odd number the other way, which would shift
    the picture by a pixel; so the layer does not pad, and a Cropping2D after it cuts the border.
    """
    settings.expect(groups=1, dilation_rate=[1, 1], data_format="channels_last")
    kernel, strides = settings.get("kernel_size", None), settings.get("strides", [1, 1])
    padding = settings.get("padding", "valid")
    surplus = [size - step for size, step in zip(kernel, strides, strict=True)]
    if min(surplus) < 0:
        raise ModelFolderError(
            f"layer '{settings.name}' has strides {strides} larger than its kernel {kernel}: "
            "not supported"
        )
    given = _checked(settings.take("filters", "activation", "use_bias"), settings.name)
    made = [
        keras.layers.Conv2DTranspose(
            **given, kernel_size=kernel, strides=strides, padding="valid", **settings.base
        )
    ]
    if padding == "same" and any(surplus):
        cropping = [(size // 2, size - size // 2) for size in surplus]
        base = {**settings.base, "name": f"{settings.name}_crop"}
        made.append(keras.layers.Cropping2D(cropping, **base))
    return made


def _average_pooling(settings: Settings) -> list[keras.layers.Layer]:
    """Return an average pooling that does not count pixels beyond the border, as in TensorFlow.

    Keras on torch does the same where both sides are padded alike; elsewhere it repeats the edge,
    so such a layer is refused.
    """
    given = settings.take("pool_size", "strides", "padding", "data_format")
    sizes, strides = given.get("pool_size", [2, 2]), given.get("strides", [2, 2])
    if given.get("padding") == "same" and not (
        all(size % 2 for size in sizes) and set(strides) == {1}
    ):
        raise ModelFolderError(
            f"layer '{settings.name}' averages {sizes} with strides {strides} over a border: "
            "not supported"
        )
    return [keras.layers.AveragePooling2D(**given, **settings.base)]


_CHANGED = {
    "AveragePooling2D": _average_pooling,
    "BatchNormalization": _batch_norm,
    "Conv2DTranspose": _transposed,
    "DepthwiseConv2D": _depthwise,
    "LayerNormalization": _layer_norm,
    "LeakyReLU": _leaky_relu,
    "SeparableConv2D": _separable,
}
