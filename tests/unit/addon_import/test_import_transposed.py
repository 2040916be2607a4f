"""Transposed convolutions, which versions of Keras pad in two ways."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from addon_import import small_models
from fs_addon_import import transposed
from fs_addon_import.faceswap3.graph import config_of
from fs_addon_import.importing import import_model
from fs_addon_import.keras3.graph import Rewriter
from fs_addon_import.rebuild import rebuild
from fs_kernel.trained_model import TrainedModel
from torch.nn.functional import conv_transpose2d


def network(kernel: int = 3, padding: str = "same", cropping=None) -> keras.Model:
    """4x4 to 8x8 pixels by transposed convolutions, called twice on one side."""
    shape = (4, 4, 3)
    inputs = [keras.Input(shape, name=f"face_in_{side}") for side in "ab"]
    outputs = []
    for side, face in zip("ab", inputs, strict=True):
        code = x = keras.Input(shape)
        x = keras.layers.Conv2DTranspose(3, kernel, 2, padding, name=f"{side}_convtrans")(x)
        if cropping:
            x = keras.layers.Cropping2D(cropping, name=f"{side}_convtrans_crop")(x)
        x = keras.layers.Activation("sigmoid", name=f"face_out_{side}")(x)
        outputs.append(keras.Model(code, x, name=f"decoder_{side}")(face))
    return keras.Model(inputs, outputs, name="original")


def by_hand(model: keras.Model, face: np.ndarray, side: str) -> np.ndarray:
    """What Keras up to 3.14 makes of it: of the whole picture the first pixel is left out."""
    layer = model.get_layer(f"decoder_{side}").get_layer(f"{side}_convtrans")
    kernel = layer.kernel.value.detach().cpu().permute(3, 2, 0, 1)
    bias = layer.bias.value.detach().cpu()
    whole = conv_transpose2d(torch.from_numpy(face).permute(0, 3, 1, 2), kernel, bias, stride=2)
    return whole[:, :, 1:9, 1:9].sigmoid().permute(0, 2, 3, 1).numpy()


def test_files_of_keras_3_keep_the_pixel_where_it_was(tmp_path: Path) -> None:
    with small_models.fresh(4):
        model = network()
        (tmp_path / "old").mkdir()
        model.save(tmp_path / "old" / "original.keras")
        faces = [np.random.default_rng(2).random((2, 4, 4, 3)).astype("float32") for _ in "ab"]
        wanted = [by_hand(model, face, side) for face, side in zip(faces, "ab", strict=True)]
    import_model(tmp_path / "old", tmp_path / "new")
    built = TrainedModel(tmp_path / "new").network
    with torch.no_grad():
        found = built.model([torch.from_numpy(face) for face in faces], training=False)
    for array, expected in zip(found, wanted, strict=True):
        assert np.abs(array.numpy() - expected).max() < 1e-6


def told(model: keras.Model) -> dict:
    return json.loads(json.dumps(keras.saving.serialize_keras_object(model)))


@pytest.mark.parametrize(("kernel", "halves"), [(3, [1, 0]), (5, [2, 1]), (7, [3, 2])])
def test_what_was_split_can_be_joined(kernel: int, halves: list[int]) -> None:
    with small_models.fresh(4):
        config = told(network(kernel))
    inner = config["config"]["layers"][2]["config"]
    before = copy.deepcopy(inner)
    transposed.split(inner, transposed.front_of_old_keras)
    assert inner["layers"][1]["config"]["padding"] == "valid"
    assert inner["layers"][2]["config"]["cropping"] == [halves, halves]
    assert inner["layers"][3]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] == [
        "a_convtrans_crop",
        0,
        0,
    ]
    transposed.join(inner)
    assert inner == before


@pytest.mark.parametrize(("kernel", "padding"), [(2, "same"), (4, "same"), (3, "valid")])
def test_what_means_one_thing_is_left_alone(kernel: int, padding: str) -> None:
    with small_models.fresh(4):
        config = told(network(kernel, padding))
    inner = config["config"]["layers"][2]["config"]
    before = copy.deepcopy(inner)
    transposed.split(inner, transposed.front_of_old_keras)
    assert inner == before


def test_the_way_back_says_same_where_both_mean_it() -> None:
    with small_models.fresh(4):
        model = network(3, "valid", ((1, 0), (1, 0)))
        config = config_of(rebuild(Rewriter().root(told(model)), "it"))
    classes = [layer["class_name"] for layer in config["config"]["layers"][2]["config"]["layers"]]
    assert classes == ["InputLayer", "Conv2DTranspose", "Activation"]
    assert config["config"]["layers"][2]["config"]["layers"][1]["config"]["padding"] == "same"


def test_the_way_back_crops_where_it_does_not() -> None:
    """A network of ours is padded by the rule of the Keras in use."""
    with small_models.fresh(4):
        model = network(3, "same")
        built = rebuild(told(model), "it")
        config = config_of(built)
    layers = config["config"]["layers"][2]["config"]["layers"]
    if transposed.front_of_this_keras(1) == transposed.front_of_old_keras(1):
        assert layers[1]["config"]["padding"] == "same"
    else:
        assert layers[1]["config"]["padding"] == "valid"
        assert layers[2]["config"]["cropping"] == [[0, 1], [0, 1]]
