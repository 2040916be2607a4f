"""Swapping with ONNX Runtime: the same faces, no training, one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fs_kernel import PluginError, UsageError, networks, open_model, open_run
from fs_kernel.cli import run_cli
from fs_kernel.networks import cut
from fs_kernel.testing import ArrayFeed

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
fs_executor_onnx = pytest.importorskip("fs_executor_onnx")

SMALL = Path(__file__).parents[2] / "data" / "small_net.py"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small trained model with a learnt mask."""
    folder = tmp_path_factory.mktemp("onnx")
    given = {"feed": ArrayFeed(), "addons": [], "a": folder, "b": folder}
    values = {"training.batch_size": 2, "training.seed": 1, "network.learn_mask": True}
    with open_run(folder / "model", SMALL, set=values, **given) as run:
        run.advance()
    return folder / "model"


def opened(model, executor):
    return open_model(model, SMALL, set={"training.executor": executor, "training.feed": "faces"})


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_faces_and_masks_are_those_of_the_plain_executor(model, direction, count):
    faces = torch.rand(count, 64, 64, 3, generator=torch.Generator().manual_seed(count))
    plain = opened(model, "keras").swapper(*direction)(faces)
    other = opened(model, "onnx").swapper(*direction)(faces)
    assert plain[1] is not None
    for expected, found in zip(plain, other, strict=True):
        assert found.shape == expected.shape
        assert np.allclose(found, expected, atol=1e-5)


def test_training_is_refused_before_anything_is_written(tmp_path, capsys):
    for side in "ab":
        (tmp_path / side).mkdir()
    with pytest.raises(UsageError, match="can swap, but not train"):
        open_run(
            tmp_path / "model",
            SMALL,
            a=tmp_path / "a",
            b=tmp_path / "b",
            feed=ArrayFeed(),
            executor="onnx",
            addons=[],
        )
    assert not (tmp_path / "model").exists()


def test_a_direction_cannot_be_trained_either(model):
    trained = opened(model, "onnx")
    forward = fs_executor_onnx.make_forward(cut(trained.network, "a", "b"), CPU)
    with pytest.raises(UsageError, match="can swap, but not train"):
        forward({"a": torch.rand(1, 64, 64, 3)}, training=True)


def test_a_device_that_onnx_runtime_cannot_use(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    network = cut(opened(model, "keras").network, "a", "b")
    with pytest.raises(UsageError, match="cannot use the device 'cuda:0'; install onnxruntime-gpu"):
        fs_executor_onnx.make_forward(network, torch.device("cuda:0"))


def test_a_network_that_onnx_cannot_say_is_one_line():
    import keras
    from fs_kernel.types import Network, Output

    class Strange(keras.layers.Layer):
        def call(self, x):
            return torch.linalg.lu(x)[2] if isinstance(x, torch.Tensor) else x

    with networks.building(0, "cpu"):
        start = keras.Input((8, 8, 3))
        model = keras.Model(start, Strange()(start))
    network = Network(model, [Output("a", "face", 8)], sides=("a",))
    with pytest.raises(PluginError, match="cannot be exported to ONNX") as caught:
        fs_executor_onnx.make_forward(network, CPU)
    assert "\n" not in str(caught.value)
    assert "--set training.executor=keras" in str(caught.value)


def test_the_command_swaps_files_with_it(model, tmp_path, capsys):
    assert run_cli(["faces", "demo", str(tmp_path / "people"), "--count=4", "--size=64"]) == 0
    out = tmp_path / "out"
    line = ["swap", str(model), str(tmp_path / "people" / "A"), str(out), "-t", str(SMALL)]
    assert run_cli([*line, "--set", "training.executor=onnx"]) == 0
    assert len(list(out.glob("*.png"))) == 4
