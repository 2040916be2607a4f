"""The options of phaze_a, whose defaults come from the chosen preset."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
from fs_kernel import option

from fs_model_phaze_a import presets
from fs_model_phaze_a.encoder_table import ENCODERS

_FC_UPSAMPLERS = ("resize_images", "subpixel", "upscale_fast", "upscale_hybrid", "upsample2d")
_UPSCALERS = ("subpixel", "resize_images", "upscale_fast", "upscale_hybrid", "upscale_dny")
_SUB_MODELS = (
    "encoder",
    "fc_a",
    "fc_b",
    "fc_both",
    "fc_shared",
    "fc_gblock",
    "g_block_a",
    "g_block_b",
    "g_block_both",
    "decoder_a",
    "decoder_b",
    "decoder_both",
)


def _default(name: str, otherwise: Any, options: PhazeAOptions) -> Any:
    value = presets.values(options.preset).get(name, otherwise)
    return list(value) if isinstance(value, list) else value


def _from_preset(cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Let the chosen preset give the default of every field but the first, ``preset`` itself."""
    first, *others = fields
    return [
        first,
        *(
            field.evolve(
                default=attrs.Factory(
                    partial(_default, field.name, _plain_default(field)), takes_self=True
                )
            )
            for field in others
        ),
    ]


def _plain_default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    # attrs types Factory as a function, not as a class.
    made = isinstance(default, attrs.Factory)  # type: ignore[arg-type]
    return default.factory() if made else default


@attrs.frozen(field_transformer=_from_preset)
class PhazeAOptions:
    """Section ``model.phaze_a``.

    An option that is not set has the preset's value, or its own default if the preset lacks it.
    """

    preset: str = option(
        "none",
        "Fill every option of this section that you do not set yourself.",
        choices=("none", *presets.names()),
        fixed=True,
    )
    output_size: int = option(
        128,
        "Edge of the swapped face in pixels, in steps of 16.",
        minimum=64,
        maximum=2048,
        fixed=True,
    )
    shared_fc: str = option(
        "none",
        "Join each side's fully connected layers with ones both sides share: 'full' adds a set of "
        "their own, 'half' uses those of side A.",
        choices=("none", "full", "half"),
        fixed=True,
    )
    enable_gblock: bool = option(
        True,
        "Put a G-block, which styles the picture as StyleGAN does, before the decoder.",
        fixed=True,
    )
    split_fc: bool = option(
        True, "Fully connected layers per side instead of one set for both.", fixed=True
    )
    split_gblock: bool = option(False, "A G-block per side instead of one for both.", fixed=True)
    split_decoders: bool = option(False, "A decoder per side instead of one for both.", fixed=True)

    enc_architecture: str = option("fs_original", "The encoder.", choices=ENCODERS, fixed=True)
    enc_scaling: int = option(
        7,
        "Size of the input in percent of what the encoder is designed for (fs_original: 1024 "
        "pixels), rounded down to 16 pixels.",
        minimum=0,
        maximum=200,
        fixed=True,
    )
    enc_load_weights: bool = option(
        True,
        "Start the encoder from the trained weights in enc_weights; false starts from random ones, "
        "as fs_original always does.",
        fixed=True,
    )
    enc_weights: str = option(
        "",
        "File with trained weights of the encoder, read when the model is made: as Keras "
        "Applications publishes them without the classifier (..._notop.h5), any other .h5 that "
        "Keras wrote of the same network, or .safetensors. Nothing is downloaded.",
        fixed=True,
    )

    bottleneck_type: str = option(
        "dense",
        "How the encoder's picture becomes a vector.",
        choices=("average_pooling", "dense", "max_pooling", "flatten"),
        fixed=True,
    )
    bottleneck_norm: str = option(
        "none",
        "Normalisation before the bottleneck.",
        choices=("none", "instance", "layer", "rms"),
        fixed=True,
    )
    bottleneck_size: int = option(
        1024, "Length of the vector of a dense bottleneck.", minimum=128, maximum=4096, fixed=True
    )
    bottleneck_in_encoder: bool = option(
        True,
        "One bottleneck, in the encoder, instead of one in each set of fully connected layers.",
        fixed=True,
    )

    fc_depth: int = option(1, "Number of dense layers.", minimum=0, maximum=16, fixed=True)
    fc_min_filters: int = option(
        1024,
        "Channels of the first dense layer's picture; its nodes are this times fc_dimensions^2.",
        minimum=16,
        maximum=5120,
        fixed=True,
    )
    fc_max_filters: int = option(
        1024, "Channels of the last dense layer's picture.", minimum=128, maximum=5120, fixed=True
    )
    fc_dimensions: int = option(
        4, "Edge of the picture that the dense layers make.", minimum=1, maximum=16, fixed=True
    )
    fc_filter_slope: float = option(
        -0.5,
        "How the nodes go from first to last: below 0 they change early, above 0 late.",
        minimum=-0.99,
        maximum=0.99,
        fixed=True,
    )
    fc_dropout: float = option(
        0.0, "Share of values dropped before each dense layer.", minimum=0.0, maximum=0.99
    )
    fc_upsampler: str = option(
        "upsample2d",
        "How the picture is enlarged after the dense layers.",
        choices=_FC_UPSAMPLERS,
        fixed=True,
    )
    fc_upsamples: int = option(1, "How often it is doubled.", minimum=0, maximum=4, fixed=True)
    fc_upsample_filters: int = option(
        512,
        "Channels after it is doubled (not for upsample2d).",
        minimum=128,
        maximum=5120,
        fixed=True,
    )

    fc_gblock_depth: int = option(
        3, "Number of dense layers before the G-block's style.", minimum=1, maximum=16, fixed=True
    )
    fc_gblock_min_nodes: int = option(
        512, "Nodes of the first of them.", minimum=128, maximum=5120, fixed=True
    )
    fc_gblock_max_nodes: int = option(
        512, "Nodes of the last of them.", minimum=128, maximum=5120, fixed=True
    )
    fc_gblock_filter_slope: float = option(
        -0.5, "As fc_filter_slope.", minimum=-0.99, maximum=0.99, fixed=True
    )
    fc_gblock_dropout: float = option(
        0.0, "Share of values dropped before each of them.", minimum=0.0, maximum=0.99
    )

    dec_upscale_method: str = option(
        "subpixel", "How the decoder doubles the picture.", choices=_UPSCALERS, fixed=True
    )
    dec_upscales_in_fc: int = option(
        0,
        "How many of the decoder's first stages belong to the fully connected layers instead.",
        minimum=0,
        maximum=6,
        fixed=True,
    )
    dec_norm: str = option(
        "none",
        "Normalisation in the decoder's stages.",
        choices=("none", "batch", "group", "instance", "layer", "rms"),
        fixed=True,
    )
    dec_min_filters: int = option(
        64, "Channels of the last stage.", minimum=16, maximum=512, fixed=True
    )
    dec_max_filters: int = option(
        512, "Channels of the first stage.", minimum=256, maximum=5120, fixed=True
    )
    dec_slope_mode: str = option(
        "full",
        "How channels go from first to last: 'full' by a curve over all stages; 'cap_max' stays "
        "at the most, then falls; 'cap_min' falls, then stays at the fewest.",
        choices=("full", "cap_max", "cap_min"),
        fixed=True,
    )
    dec_filter_slope: float = option(
        -0.45,
        "For 'full' as fc_filter_slope; else the share of channels lost from stage to stage.",
        minimum=-0.99,
        maximum=0.99,
        fixed=True,
    )
    dec_res_blocks: int = option(1, "Residual blocks per stage.", minimum=0, maximum=8, fixed=True)
    dec_output_kernel: int = option(
        5, "Edge of the kernel of the last convolution.", choices=(1, 3, 5, 7, 9), fixed=True
    )
    dec_gaussian: bool = option(True, "Add noise after each doubling while training.", fixed=True)
    dec_skip_last_residual: bool = option(True, "No residual blocks in the last stage.", fixed=True)

    freeze_layers: list[str] = option(
        ["keras_encoder"],
        "What training.freeze_weights freezes. 'keras_encoder' is the library network inside of "
        "the encoder.",
        choices=("encoder", "keras_encoder", *_SUB_MODELS[1:]),
    )
    load_layers: list[str] = option(
        ["encoder"], "What --load-weights fills.", choices=_SUB_MODELS, fixed=True
    )

    fs_original_depth: int = option(
        4, "fs_original: number of convolutions.", minimum=2, maximum=10, fixed=True
    )
    fs_original_min_filters: int = option(
        128, "fs_original: channels of the first.", minimum=16, maximum=2048, fixed=True
    )
    fs_original_max_filters: int = option(
        1024, "fs_original: the most channels.", minimum=256, maximum=8192, fixed=True
    )
    fs_original_use_alt: bool = option(
        False,
        "fs_original: another form, with two convolutions and pooling per level.",
        fixed=True,
    )
    mobilenet_width: float = option(
        1.0,
        "mobilenet encoders: channels, as a factor.",
        minimum=0.1,
        maximum=2.0,
        fixed=True,
    )
    mobilenet_depth: int = option(
        1,
        "mobilenet (first version): depthwise filters per channel.",
        minimum=1,
        maximum=10,
        fixed=True,
    )
    mobilenet_dropout: float = option(
        0.001,
        "mobilenet and mobilenet_v3: dropout of the classifier. Encoders have no classifier, so it "
        "changes nothing; it is here for settings brought from elsewhere.",
        minimum=0.001,
        maximum=2.0,
        fixed=True,
    )
    mobilenet_minimalistic: bool = option(
        False,
        "mobilenet_v3: leave out what is slow on small devices (squeeze-and-excite, hard-swish, "
        "5x5 kernels).",
        fixed=True,
    )
