"""A network as the kernel sees it, and the cut of one swap direction."""

from __future__ import annotations

import hashlib

import keras
import numpy as np
import pytest
import torch
from fs_kernel import networks
from fs_kernel.errors import ModelFolderError, PluginError, UsageError
from fs_kernel.networks import inference
from fs_kernel.storage import files
from fs_kernel.storage import tensors as tensor_files
from fs_kernel.types import Network, NetworkSpec, Output
from networks import autoencoder


@pytest.fixture(autouse=True, scope="module")
def cpu():
    with networks.building(3, "cpu"):
        yield


def tensors(net):
    return {name: v.detach().clone() for name, v in networks.weights(net).items()}


def pictures(seed=0, count=2):
    return torch.rand((count, 8, 8, 3), generator=torch.Generator().manual_seed(seed))


# --- names ---


def test_every_weight_is_named_once_even_where_layers_share_names():
    net = autoencoder()
    named = networks.weights(net)
    assert len({id(v) for v in named.values()}) == len(named)
    assert {id(v._value) for v in net.model.variables} - {
        id(s) for s in networks.seed_states(net).values()
    } == {id(v) for v in named.values()}
    assert {n: id(v._value) for n, v in networks.variables(net).items()} == {
        n: id(v) for n, v in named.items()
    }
    for side in "ab":
        for weight in ("conv/kernel", "conv/bias", "norm/gamma", "norm/moving_mean"):
            assert f"decoder_{side}/{weight}" in named
    assert networks.count(net) == sum(int(np.prod(v.shape)) for v in named.values())


def test_equal_names_beside_each_other_are_told_apart():
    start = keras.Input((8, 8, 3), name="face_in_a")
    twins = [keras.layers.Conv2D(3, 3, padding="same", name=f"conv_{i}") for i in (1, 2)]
    model = keras.Model(start, twins[1](twins[0](start)), name="m")
    for layer in twins:
        layer.name = "conv"
    net = Network(model, [Output("a", "face", 8)], {}, ("a",))
    assert sorted(networks.weights(net)) == [
        "conv#2/bias",
        "conv#2/kernel",
        "conv/bias",
        "conv/kernel",
    ]


def test_equal_layer_names_survive_saving_and_loading(tmp_path):
    net, other = autoencoder(), autoencoder()
    before = tensors(net)
    files.write_chunks(tmp_path / "x.safetensors", tensor_files.chunks(before))
    assert not torch.equal(before["decoder_a/conv/kernel"], before["decoder_b/conv/kernel"])
    networks.assign(other, tensor_files.load(tmp_path / "x.safetensors"), "x")
    after = tensors(other)
    assert list(after) == list(before)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_layer_used_three_times_is_one_weight():
    start = keras.Input((8, 8, 3), name="face_in_a")
    conv = keras.layers.Conv2D(3, 3, padding="same", name="conv")
    model = keras.Model(start, conv(conv(conv(start))), name="m")
    net = Network(model, [Output("a", "face", 8)], {}, ("a",))
    assert sorted(networks.weights(net)) == ["conv/bias", "conv/kernel"]
    assert networks.count(net) == 3 * 3 * 3 * 3 + 3
    assert len(networks.parameters(net)) == 2


def test_a_sub_model_used_by_both_sides_is_one_weight():
    names = networks.weights(autoencoder())
    assert [n for n in names if n.startswith("encoder")] == [
        "encoder/conv/kernel",
        "encoder/conv/bias",
    ]


def test_parameters_are_what_trains():
    net = autoencoder()
    names = set(networks.parameters(net))
    assert "decoder_a/norm/gamma" in names
    assert "decoder_a/norm/moving_mean" not in names
    assert all(isinstance(p, torch.nn.Parameter) for p in networks.parameters(net).values())


def test_seed_states_are_found_by_layer():
    names = list(networks.seed_states(autoencoder()))
    assert len(names) == 2
    assert all(name.startswith("encoder/") for name in names)


def test_sub_models_of_sub_models_are_found():
    inner = autoencoder().model
    start = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    outer = keras.Model(start, inner(start), name="outer")
    assert set(networks.sub_models(outer)) == {"net", "encoder", "decoder_a", "decoder_b"}


def test_the_fingerprint_is_of_names_shapes_and_types_and_not_of_values():
    net = autoencoder()
    before = networks.fingerprint(net)
    with torch.no_grad():
        for variable in networks.weights(net).values():
            variable.add_(1)
    assert networks.fingerprint(net) == before
    assert networks.fingerprint(autoencoder()) == before
    net.owned = {"judge": keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])}
    assert networks.fingerprint(net) == before


def test_the_fingerprint_is_the_one_that_is_on_disk():
    """Of ``name shape type`` lines; model folders written before hold it."""
    net = autoencoder()
    lines = [f"{n} {tuple(v.shape)} {v.dtype}" for n, v in networks.variables(net).items()]
    assert lines[0] == "encoder/conv/kernel (3, 3, 3, 4) float32"
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert networks.fingerprint(net) == expected


# --- building ---


def test_building_under_one_seed_gives_one_network():
    def once(seed):
        with networks.building(seed, "cpu"):
            return tensors(autoencoder())

    first, again, other = once(5), once(5), once(6)
    assert list(first) == list(again)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["encoder/conv/kernel"], other["encoder/conv/kernel"])


def test_inputs_are_named_by_side():
    inputs = networks.make_inputs(NetworkSpec({"x": (4, 4, 3), "y": (8, 8, 1)}))
    assert {s: (t.name, tuple(t.shape)) for s, t in inputs.items()} == {
        "x": ("face_in_x", (None, 4, 4, 3)),
        "y": ("face_in_y", (None, 8, 8, 1)),
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"outputs": [Output("a", "face", 8)]}, "describes 1 outputs, has 4"),
        ({"sides": ("a",)}, "has 2 inputs, 1 sides"),
        ({"outputs": [Output(s, "face", 8) for s in "abcd"]}, "has shape|names side 'c'"),
        ({"outputs": [Output(s, k, 16) for s in "ab" for k in ("face", "mask")]}, "has shape"),
        ({"outputs": [Output(s, k, 8) for s in "ab" for k in ("mask", "face")]}, "has shape"),
        ({"outputs": [Output(s, "aux", 0) for s in "aabb"]}, "gives no face for side 'a'"),
    ],
)
def test_a_network_that_is_not_what_it_says_is_refused(change, says):
    import attrs

    with pytest.raises(PluginError, match=says):
        networks.check(attrs.evolve(autoencoder(), **change), "model 'm'")


# --- freezing, copying, assigning ---


def test_freezing_takes_a_sub_model_out_of_training_and_back():
    net = autoencoder()
    everything = set(networks.parameters(net))
    names = ["encoder", "decoder_b", "nobody"]
    assert networks.freeze(net, names, True) == ["nobody"]
    assert {n.split("/")[0] for n in networks.parameters(net)} == {"decoder_a"}
    assert networks.freeze(net, [], False) == []
    assert {n.split("/")[0] for n in networks.parameters(net)} == {"decoder_a"}
    assert networks.freeze(net, names, False) == ["nobody"]
    assert set(networks.parameters(net)) == everything


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda t: t.pop("encoder/conv/kernel"),
            "x: 1 weights do not fit, the first: .*kernel is not in it",
        ),
        (
            lambda t: t.update(more=torch.ones(1)),
            "the first: more is not in the network",
        ),
        (
            lambda t: t.update({"encoder/conv/bias": torch.ones(7)}),
            r"the first: .*/bias is \(7,\) in it, \(4,\) here",
        ),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, says):
    net = autoencoder()
    before = tensors(net)
    given = {name: value + 1 for name, value in before.items()}
    change(given)
    with pytest.raises(ModelFolderError, match=says):
        networks.assign(net, given, "x")
    assert all(torch.equal(before[n], v) for n, v in tensors(net).items())


def test_f6_every_weight_of_every_sub_model_is_checked_and_counted():
    net, source = autoencoder(), autoencoder()
    given = tensors(source)
    given["decoder_a/conv/kernel"] = torch.ones(9)
    del given["decoder_a/conv/bias"]
    before = tensors(net)
    encoder, decoder, nobody = networks.copy_sub_models(
        net, given, ["encoder", "decoder_a", "nobody"], "x"
    )
    after = tensors(net)
    inside = [name for name in before if name.startswith("decoder_a/")]
    assert (len(encoder.copied), encoder.misfit) == (encoder.total, None)
    assert (decoder.total, len(decoder.copied)) == (len(inside), len(inside) - 2)
    assert decoder.misfit == "decoder_a/conv/kernel is (9,) in it, (3, 3, 4, 3) here"
    assert (nobody.total, nobody.misfit) == (0, "this network has no sub-model 'nobody'")
    copied = {*encoder.copied, *decoder.copied}
    assert not any(torch.equal(before[n], after[n]) for n in copied if n.endswith("kernel"))
    assert all(torch.equal(after[n], given[n]) for n in copied)
    assert all(torch.equal(after[n], before[n]) for n in set(after) - copied)


@pytest.mark.parametrize("last", ["decoder_a", "encoder"])
def test_f6_one_sub_model_that_fits_is_enough_wherever_it_stands(last):
    net = autoencoder()
    given = {n: v + 1 for n, v in tensors(net).items() if not n.startswith("decoder_a/")}
    names = sorted(["encoder", "decoder_a"], key=last.__eq__)
    fits = {fit.name: fit for fit in networks.copy_sub_models(net, given, names, "x")}
    assert fits["decoder_a"].misfit == "there is no sub-model 'decoder_a' in it"
    assert fits["encoder"].misfit is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "x: no weight of no sub-model fits this network$"),
        (["nobody"], "x: no weight of nobody fits.*: this network has no sub-model 'nobody'"),
        (["encode"], "no sub-model 'encode'"),
    ],
)
def test_nothing_to_copy_is_an_error(names, says):
    net = autoencoder()
    with pytest.raises(UsageError, match=says):
        networks.copy_sub_models(net, tensors(net), names, "x")


# --- the cut ---


def nodes(net):
    layers = [net.model, *networks.sub_models(net.model).values()]
    layers += [layer for model in layers for layer in model.layers]
    return [(layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]


def run(model, batch):
    with torch.no_grad():
        result = model(batch, training=False)
    return list(result) if isinstance(result, list | tuple) else [result]


def test_a_cut_is_exactly_the_targets_path():
    net = autoencoder()
    faces = pictures()
    for source, target, offset in (("a", "b", 2), ("b", "a", 0), ("a", "a", 0)):
        swap = inference.cut(net, source, target)
        assert swap.sides == (source,)
        assert [o.kind for o in swap.outputs] == ["face", "mask"]
        whole = run(net.model, [faces, faces])
        for got, expected in zip(run(swap.model, [faces]), whole[offset : offset + 2], strict=True):
            assert torch.equal(got, expected)


def test_cutting_leaves_the_source_as_it_was():
    net = autoencoder()
    faces = pictures()
    before = (nodes(net), tensors(net), run(net.model, [faces, faces]), net.model.to_json())
    swaps = [inference.cut(net, *pair) for pair in (("a", "b"), ("b", "a")) * 3]
    results = [run(swap.model, [faces])[0] for swap in swaps]
    assert nodes(net) == before[0]
    assert all(torch.equal(before[1][n], v) for n, v in tensors(net).items())
    after = run(net.model, [faces, faces])
    assert all(torch.equal(x, y) for x, y in zip(before[2], after, strict=True))
    assert net.model.to_json() == before[3]
    for i in (0, 1):
        assert torch.equal(results[i], results[i + 2])
        assert torch.equal(results[i], results[i + 4])
    assert not torch.equal(results[0], results[1])


def test_a_cut_follows_the_weights_it_shares():
    net = autoencoder()
    swap = inference.cut(net, "a", "b")
    faces = pictures()
    before = run(swap.model, [faces])[0]
    with torch.no_grad():
        networks.weights(net)["decoder_b/conv/bias"].add_(0.5)
    assert not torch.equal(run(swap.model, [faces])[0], before)


def test_unknown_sides_are_named():
    with pytest.raises(UsageError, match=r"no side 'c'.*a, b"):
        inference.cut(autoencoder(), "a", "c")


def test_a_path_that_needs_both_sides_cannot_be_cut():
    inputs = [keras.Input((8, 8, 3), name=f"face_in_{s}") for s in "ab"]
    both = keras.layers.Add()(inputs)
    model = keras.Model(inputs, [both, inputs[1]], name="m")
    net = Network(model, [Output(s, "face", 8) for s in "ab"], {}, ("a", "b"))
    with pytest.raises(UsageError, match=r"needs other sides' faces too.*build_inference"):
        inference.cut(net, "b", "a")


def test_sides_of_different_shape_cannot_be_swapped():
    inputs = [keras.Input((n, n, 3), name=f"face_in_{n}") for n in (8, 16)]
    model = keras.Model(inputs, [keras.layers.Identity()(x) for x in inputs], name="m")
    net = Network(model, [Output("a", "face", 8), Output("b", "face", 16)], {}, ("a", "b"))
    with pytest.raises(UsageError, match=r"different shape; .* build_inference"):
        inference.cut(net, "a", "b")


def test_a_swapper_gives_the_largest_face_and_mask_within_range():
    outputs = [
        Output("b", "mask", 4),
        Output("b", "face", 4),
        Output("b", "face", 8),
        Output("b", "mask", 8),
    ]
    given = [torch.full((2, o.size, o.size, 3 if o.kind == "face" else 1), 7.0) for o in outputs]
    given[2][0] = -3.0
    net = Network(None, outputs, {}, ("a",))
    swap = inference.Swapper(net, lambda inputs, training: given, torch.device("cpu"))
    face, mask = swap(torch.zeros((2, 8, 8, 3)))
    assert face.shape == (2, 8, 8, 3)
    assert mask.shape == (2, 8, 8)
    assert (face[0].max(), face[1].min()) == (0.0, 1.0)
    assert mask.max() == 1.0


def test_without_a_mask_there_is_none():
    net = Network(None, [Output("b", "face", 8)], {}, ("a",))
    swap = inference.Swapper(
        net, lambda inputs, training: [torch.zeros((1, 8, 8, 3))], torch.device("cpu")
    )
    assert swap(torch.zeros((1, 8, 8, 3)))[1] is None
