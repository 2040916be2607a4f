"""How the layers of a Keras-2 file hang together, and which weight belongs to which."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from addon_import.keras2_files import (
    answers,
    build,
    conv,
    dense,
    entrance,
    layer,
    model,
    numbers,
    read,
    read_optimizer,
    ref,
    write,
)
from fs_kernel.networks import cut
from fs_kernel.types import Network, Output

NORM = {"momentum": 0.99, "epsilon": 1e-3, "center": True, "scale": True, "axis": [1]}


def weight(name: str, seed: int, *shape: int) -> list[tuple[str, np.ndarray]]:
    """Kernel and bias of a layer."""
    return [
        (f"{name}/kernel", numbers(seed, *shape) * np.float32(0.3)),
        (f"{name}/bias", numbers(seed + 1, shape[-1])),
    ]


def twice_called(tmp_path: Path) -> tuple[Path, dict[str, list[tuple[str, np.ndarray]]]]:
    """The graph of a network with a shared inner model that is called three times::

    a - encoder - both -+- both ("a" twice) - decoder - face, mask
    b - encoder - own  -+- both             - decoder - face, mask
    """
    encoder = model(
        "encoder",
        [entrance("e_in", 4, 4, 3), layer("Flatten", "flat", "e_in"), dense("e", "flat", 5)],
        ["e"],
        "face_in_a",
        "face_in_b",
    )
    both = model(
        "both",
        [entrance("both_in", 5), dense("i", "both_in", 6)],
        ["i"],
        [ref("encoder", 1)],
        [ref("encoder", 2)],
        [ref("encoder", 1)],
    )
    own = model("own", [entrance("own_in", 5), dense("o", "own_in", 6)], ["o"], [ref("encoder", 2)])
    joined = [
        layer("Concatenate", "inter_a", [ref("both", 1), ref("both", 3)], axis=-1),
        layer("Concatenate", "inter_b", [ref("own", 1), ref("both", 2)], axis=-1),
    ]
    shape = layer("Reshape", "shape", "d", target_shape=[4, 4, 4])
    decoder = model(
        "decoder",
        [
            entrance("d_in", 12),
            dense("d", "d_in", 64),
            shape,
            conv("face_out", "shape", 3, 1, activation="sigmoid"),
            conv("mask_out", "shape", 1, 1, activation="sigmoid"),
        ],
        ["face_out", "mask_out"],
        "inter_a",
        "inter_b",
    )
    sides = [entrance("face_in_a", 4, 4, 3), entrance("face_in_b", 4, 4, 3)]
    outputs = [[["decoder", call, out] for out in (0, 1)] for call in (1, 2)]
    root = model("dfl_sae_liae", [*sides, encoder, both, own, *joined, decoder], outputs)
    weights = {
        "encoder": weight("e", 1, 48, 5),
        "both": weight("i", 3, 5, 6),
        "own": weight("o", 5, 5, 6),
        "decoder": [
            *weight("d", 7, 12, 64),
            *weight("face_out", 9, 1, 1, 4, 3),
            *weight("mask_out", 11, 1, 1, 4, 1),
        ],
    }
    return write(tmp_path / "net.h5", root, weights), weights


def forward(weights: dict, inner: tuple[str, str], faces: np.ndarray) -> list[np.ndarray]:
    """What one side's path gives, by hand."""
    values = {name: value for items in weights.values() for name, value in items}

    def dense_of(x: np.ndarray, name: str) -> np.ndarray:
        kernel = values[f"{name}/kernel"].reshape(-1, values[f"{name}/kernel"].shape[-1])
        return x @ kernel + values[f"{name}/bias"]

    code = dense_of(faces.reshape(len(faces), -1), "e")
    x = np.concatenate([dense_of(code, name) for name in inner], -1)
    x = dense_of(x, "d").reshape(-1, 4, 4, 4)
    return [1 / (1 + np.exp(-dense_of(x, name))) for name in ("face_out", "mask_out")]


def test_models_called_more_than_twice_and_nested_lists_of_outputs(tmp_path: Path) -> None:
    path, weights = twice_called(tmp_path)
    a, b = numbers(20, 2, 4, 4, 3), numbers(21, 2, 4, 4, 3)
    found = answers(read(path), a, b)
    wanted = [*forward(weights, ("i", "i"), a), *forward(weights, ("o", "i"), b)]
    assert len(found) == 4
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


def test_both_swap_directions_are_cut_out(tmp_path: Path) -> None:
    import torch

    path, weights = twice_called(tmp_path)
    outputs = [Output(side, kind, 4) for side in "ab" for kind in ("face", "mask")]
    network = Network(build(read(path)), outputs, {}, ("a", "b"))
    faces = numbers(22, 2, 4, 4, 3)
    for source, target, inner in (("a", "b", ("o", "i")), ("b", "a", ("i", "i"))):
        swap = cut(network, source, target).model
        with torch.no_grad():
            found = swap(torch.from_numpy(faces), training=False)
        for one, other in zip(found, forward(weights, inner, faces), strict=True):
            np.testing.assert_allclose(one.numpy(), other, rtol=0, atol=2e-6)


def test_weights_have_the_lasting_names_of_the_kernel(tmp_path: Path) -> None:
    path, weights = twice_called(tmp_path)
    found = read(path).weights
    assert set(found) == {f"{top}/{name}" for top, items in weights.items() for name, _ in items}
    for top, items in weights.items():
        for name, value in items:
            np.testing.assert_array_equal(found[f"{top}/{name}"], value)


def test_lists_of_names_too_long_for_one_attribute(tmp_path: Path) -> None:
    path, _ = twice_called(tmp_path)
    wanted = read(path).weights
    with h5py.File(path, "a") as file:
        attributes = file["model_weights/decoder"].attrs
        names = attributes["weight_names"]
        del attributes["weight_names"]
        attributes["weight_names0"], attributes["weight_names1"] = names[:4], names[4:]
    for name, value in read(path).weights.items():
        np.testing.assert_array_equal(value, wanted[name])


def test_models_within_models_sequences_and_names_with_slashes(tmp_path: Path) -> None:
    inner = model(
        "inner", [entrance("i_in", 4), dense("Conv/in", "i_in", 4)], ["Conv/in"], "x", "m1"
    )
    inner["inbound_nodes"] = [[ref("x")], [ref("inner", 1)]]
    steps = [entrance("s_in", 4), dense("s1", "s_in", 4), layer("ReLU", "s2", "s1")]
    for step in steps:
        del step["name"], step["inbound_nodes"]
    sequence = layer("Sequential", "steps", [ref("inner", 2)])
    sequence["config"] = {"name": "steps", "layers": steps}
    body = model("body", [entrance("x", 4), inner, sequence], [["steps", 1, 0]], "vector")
    root = model("net", [entrance("vector", 4), body], [["body", 1, 0]])
    weights = {"body": [*weight("Conv/in", 1, 4, 4), *weight("s1", 3, 4, 4)]}
    foreign = read(write(tmp_path / "net.h5", root, weights))
    assert list(foreign.weights) == [
        "body/inner/Conv_in/kernel",
        "body/inner/Conv_in/bias",
        "body/steps/s1/kernel",
        "body/steps/s1/bias",
    ]
    (_, k1), (_, b1), (_, k2), (_, b2) = weights["body"]
    x = numbers(5, 2, 4)
    wanted = np.maximum(((x @ k1 + b1) @ k1 + b1) @ k2 + b2, 0)
    np.testing.assert_allclose(answers(foreign, x)[0], wanted, rtol=0, atol=1e-5)


def frozen_in_part(frozen: str) -> dict:
    """A body of three layers, of which one, or all, were frozen; all train in what is read."""
    norm = layer("BatchNormalization", "norm", "first", **NORM)
    parts = [dense("first", "x", 4), norm, dense("last", "norm", 4)]
    for part in parts:
        part["config"]["trainable"] = frozen not in (part["name"], "body")
    body = model("body", [entrance("x", 4), *parts], ["last"], "vector", trainable=frozen != "body")
    return model("net", [entrance("vector", 4), body], [["body", 1, 0]])


FIRST, LAST = ["first/kernel", "first/bias"], ["last/kernel", "last/bias"]
SCALE, MOVING = ["norm/gamma", "norm/beta"], ["norm/moving_mean", "norm/moving_variance"]
ORDERS = {
    "nothing": ([*FIRST, *SCALE, *LAST], MOVING),
    "first": ([*SCALE, *LAST], [*FIRST, *MOVING]),
    "norm": ([*FIRST, *LAST], [*SCALE, *MOVING]),
    "last": ([*FIRST, *SCALE], [*MOVING, *LAST]),
    "body": ([], [*FIRST, *SCALE, *MOVING, *LAST]),
}


@pytest.mark.parametrize("frozen", ORDERS)
def test_what_trained_stands_in_front_of_what_did_not(tmp_path: Path, frozen: str) -> None:
    trained, rest = ORDERS[frozen]
    values = {
        name: numbers(seed, *((4, 4) if "kernel" in name else (4,)))
        for seed, name in enumerate([*trained, *rest])
    }
    moments = {name: numbers(50 + seed, *values[name].shape) for seed, name in enumerate(trained)}
    optimizer = [("Adam/iter", np.int64(7))]
    optimizer += [(f"Adam/{name}/m", moments[name]) for name in trained]
    optimizer += [(f"Adam/{name}/v", moments[name] ** 2) for name in trained]
    path = write(
        tmp_path / "net.h5",
        frozen_in_part(frozen),
        {"body": list(values.items())},
        optimizer=optimizer,
        optimizer_config={"class_name": "Adam", "config": {"name": "Adam"}},
    )
    foreign, state = read_optimizer(path)
    assert len(foreign.weights) == len(values)
    for name, value in values.items():
        np.testing.assert_array_equal(foreign.weights[f"body/{name}"], value)
    assert all(layer.trainable for layer in build(foreign)._flatten_layers())
    if not trained:
        assert state is None
        return
    assert list(state.slots) == [f"body/{name}" for name in trained]
    for name in trained:
        np.testing.assert_array_equal(state.slots[f"body/{name}"]["exp_avg"], moments[name])


def clip_weights() -> list[tuple[str, np.ndarray]]:
    """A transformer of one block, 64 wide, of 8-pixel patches of 16 pixels, under other names."""
    wide, heads = 64, (1, 64)
    ends = {
        "class_embedding/Variable": (1, 1, wide),
        "positional_embedding/pos": (1, 5, wide),
        "conv1/kernel": (8, 8, 3, wide),
        "ln_pre/gamma": (wide,),
        "ln_pre/beta": (wide,),
        "blocks.0.ln_1/gamma": (wide,),
        "blocks.0.ln_1/beta": (wide,),
        "blocks.0.attn/query/kernel": (wide, *heads),
        "blocks.0.attn/query/bias": heads,
        "blocks.0.attn/key/kernel": (wide, *heads),
        "blocks.0.attn/key/bias": heads,
        "blocks.0.attn/value/kernel": (wide, *heads),
        "blocks.0.attn/value/bias": heads,
        "blocks.0.attn/attention_output/kernel": (*heads, wide),
        "blocks.0.attn/attention_output/bias": (wide,),
        "blocks.0.ln_2/gamma": (wide,),
        "blocks.0.ln_2/beta": (wide,),
        "blocks.0.c_fc/kernel": (wide, 4 * wide),
        "blocks.0.c_fc/bias": (4 * wide,),
        "blocks.0.c_proj/kernel": (4 * wide, wide),
        "blocks.0.c_proj/bias": (wide,),
        "ln_post/gamma": (wide,),
        "ln_post/beta": (wide,),
        "projection/proj": (wide, 32),
    }
    return [(f"visual/{n}", numbers(seed, *shape)) for seed, (n, shape) in enumerate(ends.items())]


def test_a_clip_encoder_is_built_anew_and_its_weights_are_found(tmp_path: Path) -> None:
    foreign_layers = [entrance("v_in", 16, 16, 3), layer("ClassEmbedding", "cls", "v_in")]
    visual = model("visual", foreign_layers, ["cls"], "x")
    encoder = model(
        "encoder",
        [entrance("x", 16, 16, 3), visual, dense("code", "visual", 7)],
        ["code"],
        "face",
    )
    encoder["config"]["layers"][2]["inbound_nodes"] = [[ref("visual", 1)]]
    root = model("phaze_a", [entrance("face", 16, 16, 3), encoder], [["encoder", 1, 0]])
    weights = [*clip_weights(), *weight("code", 90, 32, 7)]
    optimizer = [("Adam/iter", np.int64(1))]
    optimizer += [(f"Adam/{name}/{slot}", value) for slot in "mv" for name, value in weights]
    path = write(
        tmp_path / "net.h5",
        root,
        {"encoder": weights},
        optimizer=optimizer,
        optimizer_config={"class_name": "Adam", "config": {"name": "Adam"}},
    )
    foreign, state = read_optimizer(path)
    assert len(foreign.weights) == len(weights)
    block = "encoder/visual/block_0"
    homes = {
        "encoder/visual/class_token/token": "class_embedding/Variable",
        "encoder/visual/positions/positions": "positional_embedding/pos",
        "encoder/visual/patches/kernel": "conv1/kernel",
        "encoder/visual/norm_in/beta": "ln_pre/beta",
        f"{block}_norm_1/gamma": "blocks.0.ln_1/gamma",
        f"{block}_attention/query/kernel": "blocks.0.attn/query/kernel",
        f"{block}_attention/key/bias": "blocks.0.attn/key/bias",
        f"{block}_attention/value/kernel": "blocks.0.attn/value/kernel",
        f"{block}_attention/attention_output/kernel": "blocks.0.attn/attention_output/kernel",
        f"{block}_norm_2/gamma": "blocks.0.ln_2/gamma",
        f"{block}_dense_1/bias": "blocks.0.c_fc/bias",
        f"{block}_dense_2/bias": "blocks.0.c_proj/bias",
        "encoder/visual/norm_out/gamma": "ln_post/gamma",
        "encoder/visual/project/kernel": "projection/proj",
    }
    values = dict(weights)
    for ours, theirs in homes.items():
        value = values[f"visual/{theirs}"]
        np.testing.assert_array_equal(foreign.weights[ours].ravel(), value.ravel())
        np.testing.assert_array_equal(state.slots[ours]["exp_avg"].ravel(), value.ravel())
    assert answers(foreign, numbers(99, 2, 16, 16, 3))[0].shape == (2, 7)
