"""The plain executor: runs the model as it is."""

from __future__ import annotations

import warnings

import keras
import pytest
import torch
from fs_executor_keras import make_forward
from fs_kernel.types import Network, Output

CPU = torch.device("cpu")


def network(sides=("b", "a"), outputs=2):
    """Sides in an order of their own; each side's result is its input times its factor."""
    faces = [keras.Input((4, 4, 3)) for _ in sides]
    results = [
        keras.layers.Rescaling(2.0 + number)(keras.layers.Dropout(0.5)(face))
        for number, face in enumerate(faces)
    ][:outputs]
    outputs = [Output(side, "face", 4) for side in sides[:outputs]]
    return Network(keras.Model(faces, results), outputs, sides=tuple(sides))


def test_inputs_go_by_side_and_outputs_come_flat_in_order():
    forward = make_forward(network(), CPU)
    a, b = torch.full((1, 4, 4, 3), 1.0), torch.full((1, 4, 4, 3), 10.0)
    first, second = forward({"a": a, "b": b}, training=False)
    assert torch.equal(first, b * 2)
    assert torch.equal(second, a * 3)


def test_training_is_passed_on():
    forward = make_forward(network(), CPU)
    ones = torch.ones(8, 4, 4, 3)
    assert (forward({"a": ones, "b": ones})[0] == 0).any()
    assert (forward({"a": ones, "b": ones}, training=False)[0] == 2).all()


@pytest.mark.parametrize("listed", [False, True], ids=["tensor", "list"])
def test_a_cut_with_one_side_runs_without_a_warning(listed):
    whole = network()
    face, result = whole.model.inputs[1], whole.model.outputs[1]
    model = keras.Model([face] if listed else face, [result] if listed else result)
    cut = Network(model, [whole.outputs[1]], sides=("a",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (swapped,) = make_forward(cut, CPU)({"a": torch.ones(1, 4, 4, 3)}, training=False)
    assert (swapped == 3).all()


def test_it_runs_on_the_device_it_was_made_for():
    seen = []

    class Probe(keras.layers.Layer):
        def call(self, inputs):
            seen.append(keras.ops.zeros(()).device.type)
            return inputs

    face = keras.Input((4, 4, 3))
    net = Network(keras.Model(face, Probe()(face)), [Output("a", "face", 4)], sides=("a",))
    seen.clear()
    make_forward(net, torch.device("meta"))({"a": torch.ones(1, 4, 4, 3, device="meta")})
    assert seen == ["meta"]
    assert keras.ops.zeros(()).device.type != "meta"
