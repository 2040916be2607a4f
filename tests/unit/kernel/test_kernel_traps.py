"""A local network that cannot be opened again: refused in a dry run and before the first step."""

from __future__ import annotations

import pytest
import torch
from fs_kernel.storage.checkpoints import Checkpoints

TRAP = """
import keras
from fs_kernel import Network, NetworkSpec, Output, hookimpl
from fs_kernel.testing import PlainTrainer as Trainer


def abs_(x):
    return abs(x)


class Own(keras.layers.Layer):
    def call(self, x):
        return x


class Trap:
    name = "trap"

    @hookimpl
    def network_spec(self, config):
        return NetworkSpec({{"a": (16, 16, 3), "b": (16, 16, 3)}})

    @hookimpl
    def build_model(self, inputs, config):
        code, out = keras.layers.Conv2D(8, 3, padding="same", name="code"), []
        for side, faces in inputs.items():
            x = code(faces)
            x = {call}
            out.append(keras.layers.Conv2D(3, 3, padding="same", name="out_" + side)(x))
        outputs = [Output(side, "face", 16) for side in inputs]
        return Network(keras.Model(list(inputs.values()), out, name="trap"), outputs)
"""
MEAN = "x - keras.ops.mean(x, axis=(1, 2), keepdims=True)"
SMALL = ("-b", 2, "--seed", 1, "--set", "training.addons=[]")
LAMBDA = 'keras.layers.Lambda(lambda y: y * 2, name="lam_" + side)(x)'


@pytest.fixture
def fs_run(fs, tmp_path, monkeypatch, people):
    """``fs run -t ./trap.py`` with the given call in the middle of its network."""
    monkeypatch.chdir(tmp_path)

    def call(middle, folder, *arguments):
        (tmp_path / "trap.py").write_text(TRAP.format(call=middle))
        faces = ["-A", people / "A", "-B", people / "B"]
        return fs(
            "run",
            "-t",
            "./trap.py:Trap",
            "--trainer",
            "./trap.py:Trainer",
            *faces,
            "-m",
            folder,
            "-b",
            2,
            "--seed",
            1,
            *arguments,
        )

    return call


@pytest.mark.parametrize("dry", [["--dry-run"], []], ids=["dry run", "run"])
@pytest.mark.parametrize(
    ("middle", "says"),
    [
        (LAMBDA, "layer 'lam_a' is a Lambda, which cannot be read back from a checkpoint"),
        (
            'keras.layers.Activation(abs_, name="act_" + side)(x)',
            "layer 'act_a' has the function 'abs_' as its activation, which cannot be read back",
        ),
        (
            'Own(name="own_" + side)(x)',
            "layer 'own_a' is of class trap.Own, which could not be read back from a checkpoint; "
            'name it in custom_objects: {"Own": Own}',
        ),
    ],
    ids=["lambda", "function", "unnamed class"],
)
def test_what_cannot_be_opened_again_is_refused_before_the_first_step(
    fs_run, tmp_path, middle, says, dry
):
    code, out, err = fs_run(middle, "model", "-i", 1, *dry)
    assert code == 4
    assert says in err.replace("fs_local_", "")
    assert "step 1" not in out + err
    assert not (tmp_path / "model" / "checkpoints").exists()


def test_plain_operations_train_and_are_opened_again(fs_run, tmp_path):
    assert fs_run(MEAN, "model", "--dry-run")[0] == 0
    for steps in (1, 2):
        code, _, err = fs_run(MEAN, "model", "-i", steps)
        assert code == 0, err
    assert fs_run(MEAN, "whole", "-i", 2)[0] == 0
    two, whole = (weights(tmp_path / name) for name in ("model", "whole"))
    assert two.keys() == whole.keys()
    assert all(torch.equal(two[name], whole[name]) for name in two)


def weights(folder):
    checkpoints = Checkpoints(folder)
    return checkpoints.read_weights(checkpoints.latest_valid(lambda line: pytest.fail(line)))
