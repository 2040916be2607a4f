"""Make the layers of face-swap programs, and of Keras's own networks, by their old names.

Nothing is imported by a name from a file: each class is one of those below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from fs_kernel.errors import ModelFolderError
from fs_nn.layers import PixelShuffler, ReflectionPadding2D
from fs_nn.normalization import GROUPS, AdaInstanceNormalization, InstanceNormalization
from fs_nn.vit import QuickGELU

# Layers of ConvNeXt and InceptionResNetV2 that Keras does not export.
from keras.src.applications.convnext import LayerScale
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from fs_addon_import.keras2.settings import Settings


def _pixel_shuffler(settings: Settings) -> keras.layers.Layer:
    settings.expect(data_format="channels_last")
    return PixelShuffler(settings.get("size", (2, 2)), **settings.base)


def _sub_pixel(settings: Settings) -> keras.layers.Layer:
    settings.expect(data_format="channels_last")
    factor = settings.get("scale_factor", 2)
    return PixelShuffler((factor, factor), **settings.base)


def _reflection_padding(settings: Settings) -> keras.layers.Layer:
    stride, kernel = settings.get("stride", 2), settings.get("kernel_size", 5)
    return ReflectionPadding2D(
        _single(stride, settings.name), _single(kernel, settings.name), **settings.base
    )


def _single(size: Any, name: str) -> int:
    """Return the one number that both axes have.

    Raises:
        ModelFolderError: they differ.
    """
    sizes = set(size) if isinstance(size, list | tuple) else {size}
    if len(sizes) != 1:
        raise ModelFolderError(f"layer '{name}' has {size} for its two axes: not supported")
    return int(sizes.pop())


def _resize_images(settings: Settings) -> keras.layers.Layer:
    given = settings.take("size", "interpolation", "data_format")
    return keras.layers.UpSampling2D(**{"interpolation": "nearest", **given}, **settings.base)


def _instance_norm(settings: Settings) -> keras.layers.Layer:
    # Keras omits settings that are null, and the axis of these layers is null.
    settings.expect(center=True, scale=True, axis=None)
    return InstanceNormalization(settings.get("epsilon", 1e-3), **settings.base)


def _ada_instance_norm(settings: Settings) -> keras.layers.Layer:
    settings.expect(center=True, scale=True, axis=-1)
    settings.get("momentum", None)  # The layer keeps no statistics.
    return AdaInstanceNormalization(settings.get("epsilon", 1e-3), **settings.base)


def _group_norm(settings: Settings) -> keras.layers.Layer:
    settings.expect(data_format="channels_last", center=True, scale=True)
    groups = settings.get("groups", GROUPS)
    return keras.layers.GroupNormalization(
        settings.get("group", groups),
        axis=settings.get("axis", -1),
        epsilon=settings.get("epsilon", 1e-6),
        **settings.base,
    )


def _rms_norm(settings: Settings) -> keras.layers.Layer:
    settings.expect(partial=0.0, bias=False)
    given = {"axis": -1, "epsilon": 1e-8, **settings.take("axis", "epsilon")}
    return keras.layers.RMSNormalization(**given, **settings.base)


def _l2_normalize(settings: Settings) -> keras.layers.Layer:
    return keras.layers.UnitNormalization(settings.get("axis", -1), **settings.base)


def _swish(settings: Settings) -> keras.layers.Layer:
    settings.expect(beta=1.0)
    return keras.layers.Activation("silu", **settings.base)


def _quick_gelu(settings: Settings) -> keras.layers.Layer:
    return QuickGELU(**settings.base)


def _layer_scale(settings: Settings) -> keras.layers.Layer:
    return LayerScale(**settings.take("init_values", "projection_dim"), **settings.base)


def scaled_residual(settings: Settings) -> keras.layers.Layer:
    """Return a layer that computes ``a + scale * b``."""
    return CustomScaleLayer(settings.get("scale", 1.0), **settings.base)


#: The function that makes the layer, by class name.
MAKERS: dict[str, Callable[[Settings], keras.layers.Layer]] = {
    "AdaInstanceNormalization": _ada_instance_norm,
    "CustomScaleLayer": scaled_residual,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "KResizeImages": _resize_images,
    "L2Normalize": _l2_normalize,
    "L2_normalize": _l2_normalize,
    "LayerScale": _layer_scale,
    "PixelShuffler": _pixel_shuffler,
    "QuickGELU": _quick_gelu,
    "RMSNormalization": _rms_norm,
    "ReflectionPadding2D": _reflection_padding,
    "SubPixelUpscaling": _sub_pixel,
    "Swish": _swish,
}
