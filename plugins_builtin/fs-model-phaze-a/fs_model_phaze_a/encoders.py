"""Build the sub-model ``encoder``: [change of range] - net - [bottleneck]."""

from __future__ import annotations

from typing import Any

import keras
from fs_nn.blocks import Blocks
from fs_nn.vit import ViTSize, vision_transformer
from keras import layers

from fs_model_phaze_a.bottleneck import bottleneck
from fs_model_phaze_a.options import PhazeAOptions
from fs_model_phaze_a.plan import Plan

_VITS = {
    "farl-b-16-16": ViTSize(16, 12, 768, 512),
    "farl-b-16-64": ViTSize(16, 12, 768, 512),
    "vit-b-16": ViTSize(16, 12, 768, 512),
    "vit-b-32": ViTSize(32, 12, 768, 512),
    "vit-l-14": ViTSize(14, 24, 1024, 768),
    "vit-l-14-336px": ViTSize(14, 24, 1024, 768),
}


def encoder(shape: tuple[int, int, int], blocks: Blocks, options: PhazeAOptions) -> keras.Model:
    """Return the encoder with weights of its own.

    Args:
        shape: of a face, ``(h, w, 3)``.
        blocks: makes blocks as the network options ask.
        options: which net, and the bottleneck.

    Returns:
        A model from faces 0..1 to a vector, or to a picture if the bottleneck comes later.
    """
    which = Plan.of(options).encoder
    face = x = keras.Input(shape)
    if which.values == "bytes":
        x = layers.Rescaling(255.0)(x)
    elif which.values == "signed":
        x = layers.Rescaling(2.0, -1.0)(x)
    if which.family == "original":
        x = _alternative(x, blocks, options) if options.fs_original_use_alt else x
        x = x if options.fs_original_use_alt else _original(x, blocks, options)
    elif which.family == "vit":
        x = vision_transformer(shape, _VITS[which.net])(x)
    else:
        x = _application(shape, which.net, options)(x)
    if options.bottleneck_in_encoder:
        x = bottleneck(x, options)
    return keras.Model(face, x, name="encoder")


def library_networks(model: keras.Model) -> list[str]:
    """Return the names of library networks inside the encoder of ``model``: one or none."""
    inside = model.get_layer("encoder").layers
    return [layer.name for layer in inside if isinstance(layer, keras.Model)]


def _original(x: keras.KerasTensor, blocks: Blocks, o: PhazeAOptions) -> keras.KerasTensor:
    filters = o.fs_original_min_filters
    for index in range(o.fs_original_depth):
        x = blocks.conv_block(x, filters, name=f"fs_enc_convblk_{index}")
        filters = min(filters * 2, o.fs_original_max_filters)
    return x


def _alternative(x: keras.KerasTensor, blocks: Blocks, o: PhazeAOptions) -> keras.KerasTensor:
    """Return ``x`` encoded as in discriminators of progressive GANs.

    Each level has two convolutions, then pooling.
    """
    filters = o.fs_original_min_filters
    x = blocks.conv_block(x, filters, 1, 1)
    for index in range(o.fs_original_depth):
        name, last = f"fs_dny_enc_convblk_{index}", index == o.fs_original_depth - 1
        x = blocks.conv_block(x, filters, 3, 1, name=name, slope=0.2)
        filters = min(filters * 2, o.fs_original_max_filters)
        kernel, padding = (4, "valid") if last else (3, "same")
        x = blocks.conv_block(x, filters, kernel, 1, name=f"{name}_1", padding=padding, slope=0.2)
        if not last:
            x = layers.MaxPooling2D(2, name=f"fs_dny_enc_convblk_pool_{index}")(x)
    return x


def _application(shape: tuple[int, int, int], net: str, options: PhazeAOptions) -> keras.Model:
    make = getattr(keras.applications, net)
    return make(include_top=False, weights=None, input_shape=shape, **_settings(net, options))


def _settings(net: str, o: PhazeAOptions) -> dict[str, Any]:
    """Return the arguments of a library network other than its input."""
    if net.startswith("EfficientNetV2"):
        return {"include_preprocessing": False}
    if net == "MobileNet":
        return {
            "alpha": o.mobilenet_width,
            "depth_multiplier": o.mobilenet_depth,
            "dropout": o.mobilenet_dropout,
        }
    if net == "MobileNetV2":
        return {"alpha": o.mobilenet_width}
    if net.startswith("MobileNetV3"):
        return {
            "alpha": o.mobilenet_width,
            "minimalistic": o.mobilenet_minimalistic,
            "dropout_rate": o.mobilenet_dropout,
            "include_preprocessing": False,
        }
    return {}
