"""Compute and check the sizes and widths that follow from the options.

All of this is arithmetic, so that it is checked before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from fs_kernel.errors import ConfigError
from fs_nn.normalization import GROUPS
from fs_nn.options import NetworkOptions

from fs_model_phaze_a.curves import capped, curve
from fs_model_phaze_a.encoder_table import ENCODERS, Encoder
from fs_model_phaze_a.options import PhazeAOptions


def reachable(output: int, size: int) -> int:
    """Return the output size, halved as long as it is even and larger than ``size``."""
    while output > size and output % 2 == 0:
        output //= 2
    return output


@attrs.frozen
class Plan:
    """The measures of a network.

    Attributes:
        encoder: entry of the encoder table.
        input_size: edge of its faces.
        fc_channels: channels of the picture that the dense layers make.
        fc_nodes: nodes of each dense layer.
        style_nodes: nodes of each dense layer before the G-block.
        fc_size: edge of the picture after the upsampling behind the dense layers.
        start_size: edge at which the stages start; the picture is reshaped to it.
        stages: channels of each stage that doubles the picture, those in the fully connected layers
            first.
    """

    encoder: Encoder
    input_size: int
    fc_channels: int
    fc_nodes: list[int]
    style_nodes: list[int]
    fc_size: int
    start_size: int
    stages: list[int]

    @classmethod
    def of(cls, options: PhazeAOptions) -> Plan:
        """Return the measures that the options ask for, possible or not; see `check`."""
        o, encoder = options, ENCODERS[options.enc_architecture]
        pixels = o.fc_dimensions**2
        lowest, highest = (_fitted(o, f) for f in (o.fc_min_filters, o.fc_max_filters))
        fc_size = o.fc_dimensions * 2**o.fc_upsamples
        start = reachable(o.output_size, fc_size)
        return cls(
            encoder=encoder,
            input_size=encoder.input_size(o.enc_scaling),
            fc_channels=highest,
            fc_nodes=curve(lowest * pixels, highest * pixels, o.fc_depth, o.fc_filter_slope),
            style_nodes=curve(
                o.fc_gblock_min_nodes,
                o.fc_gblock_max_nodes,
                o.fc_gblock_depth,
                o.fc_gblock_filter_slope,
            ),
            fc_size=fc_size,
            start_size=start,
            stages=_stages(o, (o.output_size // start).bit_length() - 1),
        )


def _fitted(o: PhazeAOptions, filters: int) -> int:
    """Return filters with which the picture reshapes to a size that doubles up to the output's.

    The size is taken as ``fc_dimensions * (fc_upsamples + 1)`` pixels, which is right only for up
    to one upsample; faceswap's models have these widths, so they are kept.
    """
    nominal = o.fc_dimensions * (o.fc_upsamples + 1)
    size = reachable(o.output_size, nominal)
    return filters if size == nominal else filters // size**2 * size**2


def _stages(o: PhazeAOptions, count: int) -> list[int]:
    if o.dec_slope_mode == "full":
        return curve(o.dec_max_filters, o.dec_min_filters, count, o.dec_filter_slope)
    if o.dec_filter_slope == 0 or o.dec_min_filters > o.dec_max_filters:
        return []
    return capped(o.dec_max_filters, o.dec_min_filters, count, o.dec_filter_slope, o.dec_slope_mode)


def check(options: PhazeAOptions, network: NetworkOptions) -> Plan:
    """Return the plan of the options.

    Raises:
        ConfigError: they cannot be built; one line for each conflict, naming the options.
    """
    plan = Plan.of(options)
    problems = [
        *_encoder_problems(options, network, plan),
        *_fc_problems(options, plan),
        *_decoder_problems(options, network, plan),
    ]
    if problems:
        raise ConfigError([f"model.phaze_a: {line}" for line in problems])
    return plan


def _encoder_problems(o: PhazeAOptions, network: NetworkOptions, plan: Plan) -> Iterator[str]:
    size, name = plan.input_size, o.enc_architecture
    if name == "nasnet_mobile":
        yield (
            "enc_architecture nasnet_mobile: Keras does not build it on torch; "
            "choose nasnet_large or another encoder"
        )
    yield from _weights_problems(o, plan)
    if plan.encoder.family == "vit" and o.bottleneck_type.endswith("pooling"):
        yield (
            f"bottleneck_type {o.bottleneck_type} needs a picture, but enc_architecture {name} "
            "gives a vector; choose dense or flatten"
        )
    if plan.encoder.family == "original":
        last = size >> (o.fs_original_depth - 1)
        if o.fs_original_use_alt and last < 4:
            yield (
                f"fs_original_depth {o.fs_original_depth} halves the input of {size} pixels to "
                f"{last}, but fs_original_use_alt needs 4 at the end; lower fs_original_depth or "
                "raise enc_scaling"
            )
        elif not o.fs_original_use_alt and network.reflect_padding and last < 3:
            yield (
                f"network.reflect_padding cannot mirror the {max(last, 1)} pixels that "
                f"fs_original_depth {o.fs_original_depth} leaves of an input of {size}; lower "
                "fs_original_depth or raise enc_scaling"
            )


def _weights_problems(o: PhazeAOptions, plan: Plan) -> Iterator[str]:
    name = o.enc_architecture
    if plan.encoder.family == "original":
        if o.enc_weights:
            yield f"enc_weights is for library encoders; leave it out with enc_architecture {name}"
    elif o.enc_weights and not o.enc_load_weights:
        yield "enc_weights names a file that enc_load_weights = false does not read; drop one"
    elif o.enc_load_weights and not o.enc_weights:
        where = (
            f"Keras Applications publishes one for {plan.encoder.net}, with 'notop' in its name"
            if plan.encoder.family == "keras"
            else "a .safetensors file, see the README of fs-model-phaze-a"
        )
        yield (
            f"enc_load_weights asks for trained weights of {name}, which are not downloaded; set "
            f"enc_weights to a file of them ({where}), or set enc_load_weights = false to start "
            "from random ones (--load-weights can then take the encoder of another model folder)"
        )


def _fc_problems(o: PhazeAOptions, plan: Plan) -> Iterator[str]:
    wanted = plan.fc_channels * o.fc_dimensions**2
    if plan.fc_channels == 0:
        yield (
            f"fc_max_filters {o.fc_max_filters} is too small to be reshaped for output_size "
            f"{o.output_size} with fc_dimensions {o.fc_dimensions} and fc_upsamples "
            f"{o.fc_upsamples}; raise fc_max_filters or choose fc_dimensions that output_size "
            "is a doubling of"
        )
    elif plan.fc_nodes and min(plan.fc_nodes) < 8:
        yield (
            f"fc_min_filters {o.fc_min_filters} leaves a dense layer without nodes for "
            f"output_size {o.output_size} and fc_dimensions {o.fc_dimensions}; raise it"
        )
    elif o.fc_depth == 1 and plan.fc_nodes[0] != wanted and o.fc_min_filters != o.fc_max_filters:
        yield (
            f"fc_depth 1 needs fc_min_filters ({o.fc_min_filters}) and fc_max_filters "
            f"({o.fc_max_filters}) to be equal"
        )
    elif plan.fc_nodes and plan.fc_nodes[-1] != wanted:
        yield (
            f"fc_max_filters {plan.fc_channels} times fc_dimensions {o.fc_dimensions} squared must "
            "be a multiple of 8"
        )


def _decoder_problems(o: PhazeAOptions, network: NetworkOptions, plan: Plan) -> Iterator[str]:
    if o.output_size % 16:
        yield f"output_size {o.output_size} is not a multiple of 16"
        return
    if plan.start_size > plan.fc_size:
        yield (
            f"output_size {o.output_size} cannot be reached by doubling from the {plan.fc_size} "
            f"pixels of fc_dimensions {o.fc_dimensions} and fc_upsamples {o.fc_upsamples} or less "
            f"(the nearest is {plan.start_size})"
        )
        return
    if o.dec_slope_mode != "full" and o.dec_filter_slope == 0:
        yield f"dec_slope_mode {o.dec_slope_mode} needs a dec_filter_slope other than 0"
    if o.dec_slope_mode != "full" and o.dec_min_filters > o.dec_max_filters:
        yield (
            f"dec_slope_mode {o.dec_slope_mode} falls from dec_max_filters {o.dec_max_filters}, "
            f"but dec_min_filters {o.dec_min_filters} is more"
        )
    stages = (o.output_size // plan.start_size).bit_length() - 1
    if o.dec_upscales_in_fc > stages:
        yield (
            f"dec_upscales_in_fc {o.dec_upscales_in_fc} is more than the {stages} doublings from "
            f"{plan.start_size} pixels to output_size {o.output_size}"
        )
    yield from _reshape_problems(o, plan)
    if o.dec_norm == "group" and (odd := [f for f in plan.stages if f % GROUPS]):
        yield (
            f"dec_norm group needs channels in multiples of {GROUPS}, but dec_max_filters, "
            f"dec_min_filters and dec_filter_slope give {odd[0]}"
        )
    if network.reflect_padding:
        yield from _reflection_problems(o, plan)


def _reshape_problems(o: PhazeAOptions, plan: Plan) -> Iterator[str]:
    plain = o.fc_upsampler == "upsample2d" or o.fc_upsamples == 0
    channels = plan.fc_channels if plain else o.fc_upsample_filters
    if o.shared_fc != "none" and o.dec_upscales_in_fc == 0:
        channels *= 2
    if channels * plan.fc_size**2 % plan.start_size**2:
        filters = "fc_max_filters" if plain else "fc_upsample_filters"
        yield (
            f"the fully connected layers give {plan.fc_size}x{plan.fc_size} pixels of {channels} "
            f"channels, which cannot be reshaped to the {plan.start_size}x{plan.start_size} that "
            f"output_size {o.output_size} is a doubling of; change {filters}, fc_dimensions or "
            "fc_upsamples"
        )


def _reflection_problems(o: PhazeAOptions, plan: Plan) -> Iterator[str]:
    entry = o.dec_upscale_method == "upscale_dny"
    if plan.start_size < (3 if entry else 2):
        yield (
            f"network.reflect_padding cannot mirror pictures of {plan.start_size} pixels, where "
            "the decoder starts; raise fc_dimensions or fc_upsamples"
        )
    elif o.fc_dimensions == 1 and o.fc_upsamples and o.fc_upsampler != "upsample2d":
        yield (
            "network.reflect_padding cannot mirror the single pixel of fc_dimensions 1; use "
            "fc_upsampler upsample2d or raise fc_dimensions"
        )
