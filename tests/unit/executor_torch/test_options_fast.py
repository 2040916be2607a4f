"""The options of section executor.torch."""

from __future__ import annotations

import warnings

import keras
import pytest
import torch
from compilers import compiles
from fast_cases import (
    SMALL,
    SmallModel,
    close,
    fast,
    gradients_close,
    one_side,
    pictures,
    plain,
    step,
    still,
)
from fast_runs import equal, train

LIGHT = SMALL["lightweight"]


@pytest.fixture(scope="module")
def network():
    return still(LIGHT.build())


def alike(network, **options):
    """Whether a way of running gives what the plain path gives."""
    given = pictures(network)
    expected, gradients, _ = step(network, plain(network), given)
    outputs, own, _ = step(network, fast(network, **options), given)
    return all(close(o, e) for o, e in zip(outputs, expected, strict=True)) and gradients_close(
        gradients, own
    )


@pytest.mark.skipif(not compiles(), reason="torch.compile needs a C++ compiler with OpenMP")
def test_compile_default_gives_the_same():
    network = one_side(keras.layers.LeakyReLU(0.1), (8, 8, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert alike(network, compile="default")


def test_compile_that_fails_is_said_once_and_does_without(network, monkeypatch):
    def broken(module, mode):
        assert mode == "max-autotune"

        def run(*pictures):
            raise RuntimeError("no compiler here\nand more")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    forward, given = fast(network, compile="max-autotune"), pictures(network)
    with pytest.warns(UserWarning, match="runs without: no compiler here") as said:
        outputs = [forward(given, training=False) for _ in range(3)]
    assert len(said) == 1
    expected = plain(network)(given, training=False)
    assert all(close(o.detach(), e.detach()) for o, e in zip(outputs[2], expected, strict=True))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_layout_is_the_order_in_memory_and_gives_the_same(network, layout):
    assert alike(network, layout=layout)
    forward, seen = fast(network, layout=layout), []
    first = next(forward.module.sub_models["encoder"].children())
    first.register_forward_hook(lambda _, __, result: seen.append(result))
    forward(pictures(network))
    assert seen[0].is_contiguous(memory_format=torch.channels_last) == (layout == "channels_last")
    assert seen[0].is_contiguous() == (layout == "channels_first")


@pytest.mark.parametrize("merge", [True, False])
def test_merge_sides_runs_a_shared_sub_model_once(network, merge):
    assert alike(network, merge_sides=merge)
    forward, sizes = fast(network, merge_sides=merge), []
    forward.module.sub_models["encoder"].register_forward_hook(
        lambda _, inputs, __: sizes.append(len(inputs[0]))
    )
    forward(pictures(network, 3))
    assert sizes == ([6] if merge else [3, 3])


def test_sides_of_different_number_are_merged_and_parted(network):
    one, other = pictures(network, 2), pictures(network, 5, seed=1)
    given = {"a": one["a"], "b": other["b"]}
    with torch.no_grad():
        outputs, expected = fast(network)(given), plain(network)(given)
    assert all(close(o, e) for o, e in zip(outputs, expected, strict=True))


@pytest.mark.parametrize("name", ["dlight-good", "unbalanced"])
def test_parts_with_batch_norm_or_random_numbers_are_not_merged(name):
    network = SMALL[name].build()
    calls = []
    forward = fast(network)
    for part, block in forward.module.sub_models.items():
        block.register_forward_hook(lambda *_, part=part: calls.append(part))
    forward(pictures(network))
    assert calls.count("encoder") == (2 if name == "dlight-good" else 1)


def test_checkpointing_gives_the_same_to_the_bit_and_keeps_less(tmp_path):
    model = SmallModel(SMALL["dlight-good"], dropout=1.0)
    kept = {}
    results = {}
    for again in (False, True):
        options = {"executor.torch.checkpointing": again}
        results[again] = train(tmp_path / str(again), model, 3, "torch", **options)
        network = still(LIGHT.build())
        kept[again] = bytes_kept(fast(network, checkpointing=again), network)
    assert results[True][0] == results[False][0]
    assert equal(results[True][1], results[False][1])
    assert kept[True] < kept[False] / 4


def bytes_kept(forward, network):
    """What a forward pass holds for the way back."""
    tensors = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        tensors[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = forward(pictures(network))
    weights = {p.untyped_storage().data_ptr() for p in forward.module.parameters()}
    del outputs
    return sum(size for place, size in tensors.items() if place not in weights)


def test_fewer_activations_are_kept_than_on_the_plain_path(network):
    assert bytes_kept(fast(network), network) < 0.7 * bytes_kept(plain_module(network), network)


def plain_module(network):
    forward = plain(network)
    forward.module = network.model
    return forward
