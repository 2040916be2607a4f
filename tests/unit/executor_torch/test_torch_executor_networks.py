"""Every built-in network: the lowered one does what the Keras model does."""

from __future__ import annotations

import pytest
import torch
from fast_cases import (
    SMALL,
    close,
    fast,
    gradients_close,
    pictures,
    plain,
    small_phaze_a,
    step,
    still,
)
from fs_executor_torch.fallback import Fallback
from fs_kernel import networks
from fs_kernel.networks import inference

PHAZE_A = {
    "plain": {},
    "dny": {"dec_upscale_method": "upscale_dny"},
    "resize": {"dec_upscale_method": "resize_images"},
    "hybrid": {"dec_upscale_method": "upscale_hybrid"},
    "group norm": {"dec_norm": "group", "dec_max_filters": 32, "dec_min_filters": 32},
    "layer norm": {"dec_norm": "layer"},
    "rms norm": {"dec_norm": "rms"},
    "batch norm": {"dec_norm": "batch"},
    "shared": {"split_fc": False, "shared_fc": "full"},
    "g-block": {"enable_gblock": True, "split_gblock": True},
    "alternative encoder": {"fs_original_use_alt": True, "bottleneck_type": "max_pooling"},
}
NETWORKS = [*SMALL, *(f"phaze_a, {name}" for name in PHAZE_A)]
#: What Keras runs: it draws from a seed generator of its own.
SEEDED = {"SpatialDropout2D", "GaussianNoise"}


def build(name):
    if name in SMALL:
        return SMALL[name].build()
    return small_phaze_a(PHAZE_A[name.removeprefix("phaze_a, ")], {"learn_mask": True})


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return still(build(request.param))


def test_outputs_and_gradients_are_those_of_the_keras_model(network):
    inputs = pictures(network)
    forward = fast(network)
    expected, gradients, after = step(network, plain(network), inputs)
    outputs, own_gradients, own_after = step(network, forward, inputs)
    assert [tuple(o.shape) for o in outputs] == [tuple(e.shape) for e in expected]
    assert all(close(o, e) for o, e in zip(outputs, expected, strict=True))
    assert gradients_close(gradients, own_gradients)
    assert all(close(own_after[name], after[name]) for name in after)
    with torch.no_grad():
        shown, own = (f(inputs, training=False) for f in (plain(network), forward))
    assert all(close(o, e) for o, e in zip(own, shown, strict=True))


def test_every_weight_is_the_same_object_and_none_is_left_to_keras(network):
    module = fast(network).module
    own = {id(parameter) for parameter in module.parameters()}
    assert own == {id(v) for v in networks.weights(network).values()}
    assert module.fallbacks == []
    kept = {type(p._operation[0]).__name__ for p in module.modules() if isinstance(p, Fallback)}
    assert kept <= SEEDED


def test_both_directions_of_the_swap(network):
    given = pictures(network, seed=3)
    for source, target in ("ab", "ba"):
        cut = inference.cut(network, source, target)
        with torch.no_grad():
            shown = plain(cut)({source: given[source]}, training=False)
            own = fast(cut)({source: given[source]}, training=False)
        assert all(close(o, e) for o, e in zip(own, shown, strict=True))


def test_half_precision_follows_the_policy_of_each_layer(network):
    inputs = pictures(network)
    parameters = networks.parameters(network)
    exact, *_ = step(network, plain(network), inputs)
    networks.apply_precision(network, "bf16", "cpu")
    try:
        expected, *_ = step(network, plain(network), inputs)
        outputs, gradients, _ = step(network, fast(network), inputs)
    finally:
        networks.apply_precision(network, "fp32", "cpu")
    for own, other, best in zip(outputs, expected, exact, strict=True):
        assert own.dtype == other.dtype == torch.float32
        assert 0 < (own - best).abs().mean() < 0.02
        assert (own - other).abs().mean() < 0.02
    assert {g.dtype for g in gradients.values()} == {torch.float32}
    assert gradients.keys() == parameters.keys()
