"""Layers of Keras 2, each against its rule computed in numpy."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from addon_import.keras2_files import (
    conv,
    entrance,
    layer,
    model,
    numbers,
    read,
    ref,
    through,
    write,
)
from fs_kernel.errors import ModelFolderError

FILE = "net.h5"
CHANNELS_LAST = {"data_format": "channels_last"}


def close(found: np.ndarray, wanted: np.ndarray, within: float = 2e-6) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=within)


def transposed_conv(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Unpadded: each pixel stamps the kernel, ``(h, w, out, in)``, times its channels."""
    count, height, width, _ = x.shape
    rows, columns, out, _ = kernel.shape
    size = (count, (height - 1) * stride + rows, (width - 1) * stride + columns, out)
    made = np.zeros(size, "float64")
    for row, column in np.ndindex(height, width):
        stamp = np.einsum("nc,hwoc->nhwo", x[:, row, column], kernel)
        top, left = row * stride, column * stride
        made[:, top : top + rows, left : left + columns] += stamp
    return made


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (4, 2), (2, 2), (3, 1), (5, 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_transposed_convolution_is_padded_as_tensorflow_does(
    tmp_path: Path, kernel: int, stride: int, padding: str
) -> None:
    x, weight, bias = numbers(0, 2, 4, 5, 3), numbers(1, kernel, kernel, 2, 3), numbers(2, 2)
    up = layer(
        "Conv2DTranspose",
        "up",
        "x",
        filters=2,
        kernel_size=[kernel, kernel],
        strides=[stride, stride],
        padding=padding,
        data_format="channels_last",
        dilation_rate=[1, 1],
        groups=1,
        activation="relu",
        use_bias=True,
        output_padding=None,
    )
    found = through(tmp_path / FILE, [up], x, [("up/kernel", weight), ("up/bias", bias)])
    wanted = np.maximum(transposed_conv(x, weight, stride) + bias, 0)
    if padding == "same":
        first = (kernel - stride) // 2
        wanted = wanted[:, first : first + 4 * stride, first : first + 5 * stride]
    close(found, wanted, 1e-5)


def operator(function: str, first: list, **kwargs: object) -> dict:
    return layer("TFOpLambda", "op", [*first, {**kwargs, "name": None}], function=function)


X = ["x", 0, 0]
SEVEN = ["_CONSTANT_VALUE", -1, 7.0]


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (operator("math.multiply", X, y=2.5), lambda x: x * 2.5),
        (operator("math.subtract", X, y=1.5), lambda x: x - 1.5),
        (operator("__operators__.add", X, y=3), lambda x: x + 3),
        (operator("math.truediv", X, y=4.0), lambda x: x / 4),
        (operator("math.multiply", SEVEN, y=X), lambda x: 7 * x),
        (operator("math.subtract", SEVEN, y=X), lambda x: 7 - x),
        (operator("math.multiply", X, y=X), lambda x: x * x),
        (operator("__operators__.add", X, y=X), lambda x: x + x),
    ],
)
def test_operators_between_tensors_and_numbers(tmp_path: Path, entry: dict, rule) -> None:
    x = numbers(3, 2, 4, 4, 3)
    close(through(tmp_path / FILE, [entry], x), rule(x))


@pytest.mark.parametrize(
    ("op", "constants", "rule"),
    [
        ("Mul", {"1": 2.0}, lambda x: x * 2),
        ("AddV2", {"0": 2.0}, lambda x: 2 + x),
        ("Sub", {"1": 2.0}, lambda x: x - 2),
        ("Sub", {"0": 2.0}, lambda x: 2 - x),
        ("RealDiv", {"1": 2.0}, lambda x: x / 2),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_operators_of_tensorflow_2_3(
    tmp_path: Path, op: str, constants: dict, rule, as_text: bool
) -> None:
    definition = {"name": "op", "op": op}
    if as_text:
        definition = json.dumps(definition)
    entry = layer("TensorFlowOpLayer", "op", "x", node_def=definition, constants=constants)
    x = numbers(3, 2, 4, 4, 3)
    close(through(tmp_path / FILE, [entry], x), rule(x))


def shuffled(x: np.ndarray, factor: int) -> np.ndarray:
    count, height, width, channels = x.shape
    blocks = x.reshape(count, height, width, factor, factor, channels // factor**2)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(count, height * factor, width * factor, -1)


def item_norm(x: np.ndarray, scale: float, offset: float) -> np.ndarray:
    mean, deviation = x.mean((1, 2, 3), keepdims=True), x.std((1, 2, 3), keepdims=True)
    return (x - mean) / (deviation + 1e-3) * scale + offset


def group_norm(x: np.ndarray, groups: int, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    split = x.reshape(*x.shape[:3], groups, -1)
    mean, variance = split.mean((1, 2, 4), keepdims=True), split.var((1, 2, 4), keepdims=True)
    return ((split - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape) * gamma + beta


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


GAMMA, BETA = numbers(4, 8), numbers(5, 8)
NORM = {"center": True, "scale": True, "gamma_initializer": {"class_name": "Ones", "config": {}}}
CUSTOM = [
    ("PixelShuffler", {"size": [2, 2], **CHANNELS_LAST}, [], lambda x: shuffled(x, 2)),
    ("SubPixelUpscaling", {"scale_factor": 2, **CHANNELS_LAST}, [], lambda x: shuffled(x, 2)),
    (
        "ReflectionPadding2D",
        {"stride": 2, "kernel_size": 5},
        [],
        lambda x: np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), mode="reflect"),
    ),
    (
        "KResizeImages",
        {"size": 2, "interpolation": "nearest"},
        [],
        lambda x: x.repeat(2, 1).repeat(2, 2),
    ),
    (
        "InstanceNormalization",
        {"axis": None, "epsilon": 1e-3, **NORM},
        [("gamma", GAMMA[:1]), ("beta", BETA[:1])],
        lambda x: item_norm(x, GAMMA[0], BETA[0]),
    ),
    (
        "GroupNormalization",
        {
            "axis": -1,
            "gamma_init": {"class_name": "Ones", "config": {}},
            "beta_regularizer": None,
            "epsilon": 1e-6,
            "group": 4,
            "data_format": None,
        },
        [("gamma", GAMMA), ("beta", BETA)],
        lambda x: group_norm(x, 4, GAMMA, BETA),
    ),
    (
        "RMSNormalization",
        {"axis": -1, "epsilon": 1e-8, "partial": 0.0, "bias": False},
        [("scale", GAMMA)],
        lambda x: x * GAMMA / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-8),
    ),
    (
        "L2_normalize",
        {"axis": -1},
        [],
        lambda x: x / np.sqrt((x**2).sum(-1, keepdims=True)),
    ),
    ("Swish", {"beta": 1.0}, [], lambda x: x * sigmoid(x)),
    ("QuickGELU", {}, [], lambda x: x * sigmoid(1.702 * x)),
    ("LayerScale", {"init_values": 1e-6, "projection_dim": 8}, [("Variable", GAMMA)], None),
]


@pytest.mark.parametrize(("kind", "config", "weights", "rule"), CUSTOM, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("package", ["", "Custom>"])
def test_layers_of_face_swap_programs(
    tmp_path: Path, kind: str, config: dict, weights: list, rule, package: str
) -> None:
    x = numbers(6, 2, 6, 6, 8)
    entry = layer(package + kind, "own", "x", **config)
    found = through(tmp_path / FILE, [entry], x, [(f"own/{n}", v) for n, v in weights])
    close(found, (rule or (lambda x: x * GAMMA))(x), 5e-6)


def test_adaptive_norm_takes_picture_offset_and_scale(tmp_path: Path) -> None:
    x = numbers(7, 2, 6, 6, 8)
    pooled = layer("GlobalAveragePooling2D", "pool", "x", keepdims=True, **CHANNELS_LAST)
    largest = layer("GlobalMaxPooling2D", "most", "x", keepdims=True, **CHANNELS_LAST)
    norm = layer(
        "AdaInstanceNormalization",
        "norm",
        [ref("x"), ref("pool"), ref("most")],
        axis=-1,
        momentum=0.99,
        epsilon=1e-3,
        center=True,
        scale=True,
    )
    mean, deviation = x.mean((1, 2), keepdims=True), x.std((1, 2), keepdims=True)
    wanted = (x - mean) / (deviation + 1e-3) * x.max((1, 2), keepdims=True) + mean
    close(through(tmp_path / FILE, [pooled, largest, norm], x), wanted, 5e-6)


def test_settings_that_keras_has_dropped(tmp_path: Path) -> None:
    x = numbers(8, 2, 6, 6, 4)
    chain = [
        layer("LeakyReLU", "leak", "x", alpha=0.10000000149011612),
        layer("SpatialDropout2D", "drop2d", "leak", rate=0.25, noise_shape=None, seed=None),
        layer("Dropout", "drop", "drop2d", rate=0.1, noise_shape=[None, 1, 1, 1], seed=3),
        layer("GaussianNoise", "noise", "drop", stddev=1.0, seed=None),
        layer("ReLU", "clip", "noise", max_value=1.0, negative_slope=0.0, threshold=0.0),
    ]
    wanted = np.clip(np.where(x > 0, x, x * 0.1), 0, 1)
    close(through(tmp_path / FILE, chain, x), wanted)


def test_batch_norm_with_its_axis_in_a_list_and_depthwise_kernels(tmp_path: Path) -> None:
    x, kernel = numbers(9, 2, 4, 4, 8), numbers(10, 1, 1, 8, 1)
    mean, variance = numbers(11, 8), numbers(12, 8) ** 2 + 0.5
    chain = [
        layer(
            "DepthwiseConv2D",
            "each",
            "x",
            kernel_size=[1, 1],
            strides=[1, 1],
            padding="same",
            dilation_rate=[1, 1],
            groups=1,
            activation="linear",
            use_bias=False,
            depth_multiplier=1,
            depthwise_initializer={"class_name": "GlorotUniform", "config": {}},
            depthwise_regularizer=None,
            **CHANNELS_LAST,
        ),
        layer("BatchNormalization", "norm", "each", axis=[3], momentum=0.99, epsilon=1e-3, **NORM),
    ]
    weights = [
        ("each/depthwise_kernel", kernel),
        ("norm/gamma", GAMMA),
        ("norm/beta", BETA),
        ("norm/moving_mean", mean),
        ("norm/moving_variance", variance),
    ]
    wanted = (x * kernel[..., 0] - mean) / np.sqrt(variance + 1e-3) * GAMMA + BETA
    close(through(tmp_path / FILE, chain, x, weights), wanted, 5e-6)


def test_separable_convolution_without_what_it_inherited(tmp_path: Path) -> None:
    x, each, mix, bias = (
        numbers(13, 2, 4, 4, 3),
        numbers(14, 1, 1, 3, 2),
        numbers(15, 1, 1, 6, 5),
        numbers(16, 5),
    )
    entry = conv("sep", "x", 5, 1, depth_multiplier=2, depthwise_constraint=None)
    entry["class_name"] = "SeparableConv2D"
    weights = [("depthwise_kernel", each), ("pointwise_kernel", mix), ("bias", bias)]
    found = through(tmp_path / FILE, [entry], x, [(f"sep/{n}", v) for n, v in weights])
    spread = (x[..., None] * each[0, 0]).reshape(*x.shape[:3], 6)
    close(found, spread @ mix[0, 0] + bias, 5e-6)


def test_precision_as_text_and_as_the_two_policies_of_keras_2(tmp_path: Path) -> None:
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    scaled = {"class_name": "PolicyV1", "config": {"name": "mixed_float16", "loss_scale": None}}
    chain = [
        conv("half", "x", 3, 1, dtype=policy),
        layer("LeakyReLU", "leak", "half", alpha=0.1, dtype=scaled),
        layer("Activation", "out", "leak", activation="sigmoid", dtype="float32"),
    ]
    body = [entrance("x", 4, 4, 3), *chain]
    weights = [("half/kernel", numbers(0, 1, 1, 3, 3)), ("half/bias", numbers(1, 3))]
    path = write(tmp_path / FILE, model("net", body, ["out"]), {"half": weights})
    layers = {entry["name"]: entry["config"] for entry in read(path).config["config"]["layers"]}
    policies = [layers[name]["dtype"]["config"]["name"] for name in ("half", "leak", "out")]
    assert policies == ["mixed_float16", "mixed_float16", "float32"]


def test_a_residual_that_keras_2_10_wrote_as_code_is_known_by_its_place(tmp_path: Path) -> None:
    x = numbers(17, 2, 4, 4, 3)
    half = layer("TFOpLambda", "half", [*X, {"y": 0.5}], function="math.multiply")
    add = layer(
        "Lambda",
        "block17_4",
        [ref("x"), ref("half")],
        function=["4wIAAAAA", None, None],
        function_type="lambda",
        module="keras.applications.inception_resnet_v2",
        output_shape=[4, 4, 3],
        arguments={"scale": 0.17},
    )
    state = {"config": {"enc_architecture": "inception_resnet_v2"}}
    close(through(tmp_path / FILE, [half, add], x, state=state), x + 0.17 * 0.5 * x)


def test_bilinear_resizing_is_that_of_half_pixel_centres(tmp_path: Path) -> None:
    x = numbers(18, 1, 4, 4, 2)
    entry = layer("KResizeImages", "up", "x", size=2, interpolation="bilinear")

    def doubled(line: np.ndarray) -> np.ndarray:
        ends = [line[0], *line, line[-1]]
        return np.stack(
            [
                row
                for near, far in pairwise(ends)
                for row in (0.75 * near + 0.25 * far, 0.25 * near + 0.75 * far)
            ]
        )[1:-1]

    wanted = np.apply_along_axis(doubled, 2, np.apply_along_axis(doubled, 1, x))
    close(through(tmp_path / FILE, [entry], x), wanted)


def pooling(padding: str, strides: int) -> dict:
    settings = {"pool_size": [3, 3], "strides": [strides, strides], "padding": padding}
    return layer("AveragePooling2D", "pool", "x", **settings, **CHANNELS_LAST)


def test_averages_at_the_border_count_what_is_there(tmp_path: Path) -> None:
    x = numbers(19, 2, 5, 5, 2)
    wanted = np.stack(
        [
            x[:, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].mean((1, 2))
            for row, column in np.ndindex(5, 5)
        ],
        axis=1,
    ).reshape(x.shape)
    close(through(tmp_path / FILE, [pooling("same", 1)], x), wanted)


def test_averages_that_torch_takes_otherwise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="over a border"):
        through(tmp_path / FILE, [pooling("same", 2)], numbers(19, 2, 6, 6, 2))


def test_a_scale_for_each_channel(tmp_path: Path) -> None:
    x = numbers(23, 2, 4, 4, 3)
    entry = layer("Rescaling", "scale", "x", scale=[2.0, 3.0, 4.0], offset=1.0)
    close(through(tmp_path / FILE, [entry], x), x * [2, 3, 4] + 1)


def test_a_normalisation_that_was_fitted_to_data(tmp_path: Path) -> None:
    x, mean, variance = numbers(20, 2, 4, 4, 3), numbers(21, 3), numbers(22, 3) ** 2 + 0.5
    entry = layer("Normalization", "fit", "x", axis=[3], mean=None, variance=None)
    weights = [("mean", mean), ("variance", variance), ("count", np.int64(0))]
    found = through(tmp_path / FILE, [entry], x, [(f"fit/{n}", v) for n, v in weights])
    close(found, (x - mean) / np.sqrt(variance), 5e-6)
    fixed = layer("Normalization", "fit", "x", axis=[3], mean=[1.0, 2.0, 3.0], variance=[4.0] * 3)
    close(through(tmp_path / FILE, [fixed], x), (x - [1, 2, 3]) / 2)
