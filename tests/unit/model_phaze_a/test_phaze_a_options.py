"""Widths that follow from options, and options that clash."""

from __future__ import annotations

import attrs
import pytest
from fs_kernel.errors import ConfigError
from fs_model_phaze_a import SECTION, presets
from fs_model_phaze_a.curves import capped, curve
from fs_model_phaze_a.options import PhazeAOptions
from fs_model_phaze_a.plan import Plan, check, reachable
from fs_nn.options import NetworkOptions
from phaze_a_small import chosen, full_size, small


def test_the_curve_of_the_default_decoder():
    assert curve(512, 64, 4, -0.45) == [512, 256, 128, 64]


def test_curves_begin_and_end_where_told():
    for slope in (-0.99, -0.33, 0.0, 0.5, 0.99):
        for points in (2, 3, 7):
            widths = curve(1024, 64, points, slope)
            assert (widths[0], widths[-1], len(widths)) == (1024, 64, points)
            assert widths == sorted(widths, reverse=True)
            assert all(width % 8 == 0 for width in widths)


def test_a_curve_without_slope_is_a_line():
    assert curve(0, 64, 5, 0.0) == [0, 16, 32, 48, 64]


@pytest.mark.parametrize(("points", "expected"), [(1, [512]), (0, [])])
def test_short_curves(points, expected):
    assert curve(512, 64, points, -0.45) == expected


@pytest.mark.parametrize(
    ("hold", "points", "expected"),
    [
        ("cap_max", 5, [512, 512, 256, 128, 64]),
        ("cap_min", 5, [512, 256, 128, 64, 64]),
        ("cap_max", 4, [512, 256, 128, 64]),
        ("cap_min", 2, [512, 256]),
    ],
)
def test_capped_widths(hold, points, expected):
    assert capped(512, 64, points, -0.5, hold) == expected


def test_capped_widths_are_multiples_of_eight_and_never_below_the_smallest():
    assert capped(504, 100, 6, 0.3, "cap_min") == [504, 352, 240, 168, 112, 96]


@pytest.mark.parametrize(
    ("output", "size", "expected"),
    [(128, 8, 8), (384, 8, 6), (384, 3, 3), (272, 8, 17), (64, 99, 64)],
)
def test_sizes_that_doubling_reaches(output, size, expected):
    assert reachable(output, size) == expected


@pytest.mark.parametrize(
    ("preset", "size", "start", "stages"),
    [
        ("dny256", 256, 4, [512, 256, 128, 64, 32, 16]),
        ("dny1024", 1024, 4, [512, 512, 512, 256, 128, 64, 32, 16]),
        ("sym384", 384, 3, [1536, 768, 384, 192, 96, 48, 24]),
        ("clipfaker448", 224, 14, [1024, 512, 256, 128, 64]),
        ("stojo", 224, 16, [640, 400, 256, 160]),
        ("dfl-sae-df", 128, 16, [504, 248, 128]),
    ],
)
def test_measures_of_presets(preset, size, start, stages):
    plan = Plan.of(PhazeAOptions(preset=preset))
    assert plan.input_size == size
    assert plan.start_size == start
    assert plan.stages == stages


def test_filters_are_fitted_to_sizes_that_need_a_reshape():
    plan = Plan.of(PhazeAOptions(output_size=384))
    assert (plan.fc_size, plan.start_size) == (8, 6)
    assert plan.fc_channels == 1008
    assert plan.fc_nodes == [1008 * 16]


@pytest.mark.parametrize(
    ("options", "network", "words"),
    [
        ({"output_size": 100}, {}, "output_size 100 is not a multiple of 16"),
        ({"output_size": 272}, {}, "cannot be reached by doubling from the 8 pixels"),
        ({"fc_min_filters": 512}, {}, "fc_depth 1 needs fc_min_filters (512)"),
        ({"fc_depth": 0}, {}, "fc_depth 0 takes the bottleneck's 1024 values"),
        ({"dec_upscales_in_fc": 5}, {}, "dec_upscales_in_fc 5 is more than the 4 doublings"),
        ({"dec_norm": "group", "dec_min_filters": 16}, {}, "multiples of 32"),
        (
            {"output_size": 384, "fc_upsampler": "subpixel"},
            {},
            "8x8 pixels of 512 channels, which cannot be reshaped to the 6x6",
        ),
        (
            {"output_size": 272, "fc_dimensions": 9, "fc_min_filters": 128, "fc_max_filters": 128},
            {},
            "fc_max_filters 128 is too small",
        ),
        ({"dec_slope_mode": "cap_max", "dec_filter_slope": 0.0}, {}, "other than 0"),
        (
            {"dec_slope_mode": "cap_min", "dec_min_filters": 512, "dec_max_filters": 256},
            {},
            "dec_min_filters 512 is more",
        ),
        ({"enc_architecture": "resnet50"}, {}, "set enc_load_weights = false"),
        (
            {"enc_architecture": "nasnet_mobile", "enc_load_weights": False},
            {},
            "Keras does not build it on torch",
        ),
        (
            {
                "enc_architecture": "clipv_vit-b-32",
                "enc_load_weights": False,
                "bottleneck_type": "max_pooling",
            },
            {},
            "choose dense or flatten",
        ),
        ({"fs_original_use_alt": True, "fs_original_depth": 6}, {}, "needs 4 at the end"),
        ({"fs_original_depth": 10}, {"reflect_padding": True}, "cannot mirror the 1 pixels"),
        (
            {"fc_dimensions": 1, "fc_upsamples": 0},
            {"reflect_padding": True},
            "where the decoder starts",
        ),
        (
            {"fc_dimensions": 1, "fc_upsamples": 2, "fc_upsampler": "subpixel"},
            {"reflect_padding": True},
            "single pixel of fc_dimensions 1",
        ),
    ],
)
def test_clashes_are_named(options, network, words):
    plugins = chosen(options, network)
    with pytest.raises(ConfigError) as error:
        full_size(plugins)
    assert words in str(error.value)
    assert all(line.startswith("model.phaze_a: ") for line in error.value.problems)


def test_all_clashes_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        check(PhazeAOptions(output_size=100, fc_min_filters=512), NetworkOptions())
    assert len(error.value.problems) == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "dfakr"}, "did you mean 'dfaker'"),
        ({"dec_output_kernel": 4}, "'4' is none of 1, 3, 5, 7, 9"),
        ({"fc_dropout": 1.0}, "above the largest value"),
        ({"freeze_layers": ["decoder"]}, "'decoder' is none of"),
        ({"enc_architecture": "resnet51"}, "did you mean 'resnet50'"),
    ],
)
def test_values_out_of_range(values, words):
    with pytest.raises(ConfigError, match=SECTION) as error:
        chosen(values)
    assert words in str(error.value)


def test_what_presets_set_lies_in_the_declared_ranges():
    for name in presets.names():
        assert chosen(presets.values(name)).config[SECTION].preset == "none"


def test_reflection_works_on_the_smallest_pictures_that_pass():
    options = {"fc_dimensions": 2, "fc_upsamples": 0, "fc_upsampler": "subpixel"}
    network = small({**options, "fs_original_depth": 4}, {"reflect_padding": True})
    assert network.outputs[0].size == 32


def test_lists_are_fresh():
    one, other = PhazeAOptions(preset="dfaker"), PhazeAOptions(preset="dfaker")
    assert one.freeze_layers == other.freeze_layers == ["encoder"]
    assert one.freeze_layers is not other.freeze_layers
    assert attrs.evolve(one).load_layers == ["encoder"]
