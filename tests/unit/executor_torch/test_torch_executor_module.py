"""What trainers build on: a torch module whose parameters are the network's."""

from __future__ import annotations

import copy

import keras
import pytest
import torch
from fast_cases import SMALL, fast, one_side, pictures, still
from fs_kernel import networks
from fs_kernel.types import Network, Output


@pytest.fixture(scope="module")
def network():
    return still(SMALL["lightweight"].build())


def run(forward, network, training=False):
    with torch.no_grad():
        return forward(pictures(network), training=training)


def test_replaced_parameters_change_the_result(network):
    forward = fast(network)
    expected = run(forward, network)
    for part in list(forward.module.modules()):
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, torch.nn.Parameter(torch.zeros_like(parameter)))
    outputs = run(forward, network)
    assert all((output == 0.5).all() for output in outputs)
    assert not any(torch.equal(o, e) for o, e in zip(outputs, expected, strict=True))
    assert all(
        torch.equal(o, e) for o, e in zip(run(fast(network), network), expected, strict=True)
    )


def test_the_module_is_called_with_pictures_in_the_order_of_the_sides(network):
    forward, given = fast(network), pictures(network)
    with torch.no_grad():
        expected = forward(given, training=False)
        outputs = forward.module(*(given[side] for side in network.sides))
    assert all(torch.equal(o, e) for o, e in zip(outputs, expected, strict=True))


def test_sub_models_are_modules_by_name(network):
    blocks = fast(network).module.sub_models
    assert sorted(blocks) == ["decoder_a", "decoder_b", "encoder"]
    held = {id(parameter) for block in blocks.values() for parameter in block.parameters()}
    assert held == {id(p) for p in networks.parameters(network).values()}


def test_each_block_is_called_once_as_a_module(network):
    forward, calls = fast(network), []
    for name, block in forward.module.sub_models.items():
        block.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    run(forward, network)
    assert sorted(calls) == ["decoder_a", "decoder_b", "encoder"]


def test_a_copy_computes_with_weights_of_its_own(network):
    forward = fast(network)
    other = copy.deepcopy(forward.module).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        outputs = other(*pictures(network).values())
    assert all((output == 0.5).all() for output in outputs)
    assert all(p.any() for n, p in networks.parameters(network).items() if "kernel" in n)


def test_training_is_the_modules_own_and_follows_the_call():
    network = one_side(keras.layers.Dropout(0.5), (8, 8, 4))
    forward, given = fast(network), pictures(network, 8)
    dropped = forward(given)[0]
    assert (dropped == 0).float().mean() > 0.3
    assert not (forward(given, training=False)[0] == 0).any()
    assert not (forward.module(*given.values())[0] == 0).any()
    forward.module.train()
    assert (forward.module(*given.values())[0] == 0).float().mean() > 0.3


def test_dropout_draws_what_keras_draws():
    from fast_cases import plain

    network = one_side(keras.layers.Dropout(0.5), (5,))
    given = pictures(network, 8)
    results = []
    for make in (plain, fast):
        torch.manual_seed(3)
        results.append(make(network)(given)[0])
    assert torch.equal(*(result == 0 for result in results))


def test_a_model_that_is_no_graph_is_run_by_keras():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2)

        def call(self, inputs):
            return [self.inner(inputs), inputs]

    model = Own()
    model(torch.zeros(1, 4, 4, 3))
    network = Network(model, [Output("a", "aux", 0)] * 2, sides=("a",))
    forward, given = fast(network), {"a": torch.rand(2, 4, 4, 3)}
    inner, same = forward(given, training=False)
    assert torch.equal(same, given["a"])
    assert torch.allclose(inner, model(given["a"])[0])
    assert len(list(forward.module.parameters())) == 2
    assert forward.module.fallbacks == ["network"]


def test_names_that_torch_does_not_allow():
    faces = keras.Input((4, 4, 3))
    x = keras.layers.Dropout(0.5, name="0.5_1")(faces)
    for name in ("forward", "training"):
        x = keras.layers.Dense(3, name=name)(x)
    network = Network(keras.Model(faces, x), [Output("a", "aux", 0)], sides=("a",))
    forward = fast(network)
    assert len(forward.module.state_dict()) == 4
    expected = network.model(torch.ones(1, 4, 4, 3))
    assert torch.allclose(forward({"a": torch.ones(1, 4, 4, 3)}, training=False)[0], expected)


def test_a_part_keeps_both_kinds_of_call_of_one_layer():
    """Called with a keyword once and plainly once."""

    layer = keras.layers.BatchNormalization()
    faces = keras.Input((4, 4, 3))
    mask = keras.ops.ones_like(faces)[..., 0]
    model = keras.Model(faces, [layer(faces), layer(faces, mask=mask)])
    network = Network(model, [Output("a", "aux", 0)] * 2, sides=("a",))
    forward, given = fast(network), pictures(network)
    with torch.no_grad():
        for own, expected in zip(
            forward(given, training=False), model(given["a"], training=False), strict=True
        ):
            assert torch.allclose(own, expected, atol=1e-6)
