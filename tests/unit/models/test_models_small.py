"""Every network with few weights: it learns and swaps, beyond what its suite holds it to.

The networks have a learnt mask, so that every branch is there.
"""

from __future__ import annotations

import json
from collections import Counter

import keras
import pytest
import torch
from built_in import NAMES, SMALL
from fs_kernel import networks
from fs_kernel.networks import inference


@pytest.fixture(scope="module", params=SMALL)
def case(request):
    return SMALL[request.param]


@pytest.fixture(scope="module")
def network(case):
    return case.build()


@pytest.fixture(scope="module")
def written(network):
    return json.dumps(networks.to_json(network))


def faces(case, seed, count=2):
    return torch.rand(
        (count, case.size, case.size, 3), generator=torch.Generator().manual_seed(seed)
    )


def test_every_plugin_is_here():
    assert {case.plugin for case in SMALL.values()} == set(NAMES)


def test_outputs_are_faces_small_to_large_then_the_mask(case, network):
    for side in "ab":
        *shown, mask = [output for _, output in network.outputs_of(side)]
        assert mask.kind == "mask"
        assert {output.kind for output in shown} == {"face"}
        sizes = [output.size for output in shown]
        assert sizes == sorted(set(sizes))
        assert mask.size == sizes[-1]


def test_a_step_reaches_every_weight(case, network):
    parameters = networks.parameters(network)
    predictions = network.model([faces(case, 1), faces(case, 2)], training=True)
    loss = sum(((p - 0.3) ** 2).mean() for p in predictions)
    loss.backward()
    unreached = [n for n, p in parameters.items() if p.grad is None or not p.grad.any()]
    assert unreached == []
    before = {name: p.detach().clone() for name, p in parameters.items()}
    torch.optim.Adam(parameters.values(), lr=1e-3).step()
    assert all(not torch.equal(p, before[name]) for name, p in parameters.items())
    assert all(torch.isfinite(p).all() for p in parameters.values())


def test_a_step_in_half_precision_reaches_every_weight(case, network):
    given = [faces(case, 1, 1), faces(case, 2, 1)]
    parameters = networks.parameters(network)
    network.model.zero_grad()
    networks.apply_precision(network, "bf16", "cpu")
    predictions = network.model(given, training=True)
    sum(((p - 0.3) ** 2).mean() for p in predictions).backward()
    results = []
    for number_format in ("bf16", "fp32"):
        networks.apply_precision(network, number_format, "cpu")
        with torch.no_grad():
            results.append(network.model(given, training=False))
    assert {p.dtype for p in (*predictions, *parameters.values())} == {torch.float32}
    assert [n for n, p in parameters.items() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in parameters.values())
    for rough, exact in zip(*results, strict=True):
        assert 0 < (rough - exact).abs().mean() < 0.02


@pytest.mark.parametrize(("source", "target"), ["ab", "ba"])
def test_f9_a_swap_is_the_targets_own_path(case, network, written, source, target):
    calls = Counter(len(layer._inbound_nodes) for layer in network.model._flatten_layers())
    given, other = faces(case, 5), faces(case, 6)
    inputs = {source: other, target: given}
    swap = inference.cut(network, source, target)
    with torch.no_grad():
        expected = network.model([inputs[side] for side in "ab"], training=False)
        got = swap.model([given], training=False)
    own = network.outputs_of(target)
    assert swap.outputs == [output for _, output in own]
    for (position, _), picture in zip(own, keras.tree.flatten(got), strict=True):
        assert (picture - expected[position]).abs().max() <= 1e-6
    assert json.dumps(networks.to_json(network)) == written
    assert calls == Counter(len(la._inbound_nodes) for la in network.model._flatten_layers())


def test_both_sides_share_the_encoder_and_no_more_than_they_should(case, network):
    """A change of one side's faces shows in that side's pictures alone."""
    with torch.no_grad():
        one = network.model([faces(case, 7), faces(case, 8)], training=False)
        two = network.model([faces(case, 7), faces(case, 9)], training=False)
    for (position_a, _), (position_b, _) in zip(
        network.outputs_of("a"), network.outputs_of("b"), strict=True
    ):
        assert torch.equal(one[position_a], two[position_a])
        assert not torch.equal(one[position_b], two[position_b])


def test_network_options(case, network):
    built = case.build(reflect_padding=True, icnr_init=True, conv_aware_init=True)
    assert built.outputs == network.outputs
    assert built.model.count_params() == network.model.count_params()
    with torch.no_grad():
        pictures = built.model([faces(case, 1), faces(case, 2)], training=False)
    names = [layer.name for layer in built.model._flatten_layers()]
    assert any("reflectionpadding2d" in name for name in names)
    for picture, output in zip(pictures, built.outputs, strict=True):
        assert picture.shape[1:3] == (output.size, output.size)
        assert 0 < picture.min() < picture.max() < 1
