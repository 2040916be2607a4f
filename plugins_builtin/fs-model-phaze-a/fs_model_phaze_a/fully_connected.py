"""Build the layers between encoder and decoder: from a vector to a small picture or a style."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from fs_kernel.errors import ConfigError
from fs_nn.blocks import Blocks
from keras import layers

from fs_model_phaze_a.bottleneck import bottleneck
from fs_model_phaze_a.decoder import UPSCALERS, Stages
from fs_model_phaze_a.options import PhazeAOptions
from fs_model_phaze_a.plan import Plan

Shape = tuple[int | None, ...]


def picture_fc(shape: Shape, name: str, blocks: Blocks, options: PhazeAOptions) -> keras.Model:
    """Return a model from the encoder's result to the picture a decoder or G-block starts from.

    Args:
        shape: of the encoder's result without the batch.
        name: "fc_a", "fc_b", "fc_both" or "fc_shared".
        blocks: makes blocks as the network options ask.
        options: its depth and widths.

    Raises:
        ConfigError: there are no dense layers and the vector does not have the picture's size.
    """
    plan = Plan.of(options)
    code, x = _start(shape, options)
    x = _dense(x, plan.fc_nodes, options.fc_dropout)
    picture = (options.fc_dimensions, options.fc_dimensions, plan.fc_channels)
    _require_fit(x.shape[1], picture)
    x = _enlarge(layers.Reshape(picture)(x), blocks, options)
    if options.dec_upscales_in_fc:
        x = Stages(blocks, options).face(x, 0, options.dec_upscales_in_fc)
    return keras.Model(code, x, name=name)


def style_fc(shape: Shape, options: PhazeAOptions) -> keras.Model:
    """Return ``fc_gblock``, a model from the encoder's result to the G-block's style vector."""
    code, x = _start(shape, options)
    x = _dense(x, Plan.of(options).style_nodes, options.fc_gblock_dropout)
    return keras.Model(code, x, name="fc_gblock")


def _start(shape: Shape, options: PhazeAOptions) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    code = keras.Input(shape)
    return code, code if options.bottleneck_in_encoder else bottleneck(code, options)


def _dense(x: keras.KerasTensor, nodes: Sequence[int], rate: float) -> keras.KerasTensor:
    for number, width in enumerate(nodes, start=1):
        x = layers.Dropout(rate, name=f"{rate}_{number}")(x)
        x = layers.Dense(width)(x)
    return x


def _require_fit(width: int, picture: tuple[int, int, int]) -> None:
    edge, _, channels = picture
    if width != edge * edge * channels:
        raise ConfigError(
            f"model.phaze_a: fc_depth 0 takes the bottleneck's {width} values as they are, but "
            f"fc_dimensions {edge} and fc_max_filters {channels} need {edge * edge * channels}; "
            "change bottleneck_size or add a dense layer with fc_depth"
        )


def _enlarge(x: keras.KerasTensor, blocks: Blocks, o: PhazeAOptions) -> keras.KerasTensor:
    if o.fc_upsampler != "upsample2d":
        for _ in range(o.fc_upsamples):
            x = UPSCALERS[o.fc_upsampler](blocks, x, o.fc_upsample_filters)
        return x
    if o.fc_upsamples:
        method = "nearest" if o.fc_upsamples == 1 else "bilinear"
        x = layers.UpSampling2D(2**o.fc_upsamples, interpolation=method)(x)
    return layers.LeakyReLU(0.1)(x)
