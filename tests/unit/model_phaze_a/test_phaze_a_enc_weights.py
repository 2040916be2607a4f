"""Trained weights for the encoder from files: what fits is taken, the rest refused in one line."""

from __future__ import annotations

import json

import h5py
import keras
import numpy as np
import pytest
import torch
from fs_kernel import networks
from fs_kernel.errors import ConfigError
from fs_kernel.types import Network
from fs_model_phaze_a import custom_objects
from fs_model_phaze_a.enc_weights import load
from fs_nn.vit import ViTSize, vision_transformer
from keras.src.legacy.saving import legacy_h5_format
from phaze_a_small import small
from safetensors.numpy import save_file

STUDENT = {
    "enc_architecture": "mobilenet_v3_small",
    "mobilenet_minimalistic": True,
    "mobilenet_width": 0.1,
    "bottleneck_type": "max_pooling",
}
TEACHER = {"include_top": False, "weights": None, "include_preprocessing": False}
TEACHER |= {"alpha": 0.1, "minimalistic": True, "input_shape": (32, 32, 3)}
MEANS = (0.485, 0.456, 0.406)
DEVIATIONS = (0.229, 0.224, 0.225)


def randomized(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        shape = tuple(weight.shape)
        weight.assign(rng.uniform(0.5, 1.5, shape) * np.prod(shape[:-1] or (1,)) ** -0.5)
    return model


@pytest.fixture(scope="module")
def teacher():
    """A network as another program has it, in a session of its own."""
    keras.utils.clear_session()
    keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization(), keras.layers.ReLU()
    return randomized(keras.applications.MobileNetV3Small(**TEACHER))


@pytest.fixture(scope="module")
def student():
    return network_around(stack("first", "norm", "last"))


def write_legacy(model, path, published=False):
    """The older layout, by Keras; ``published`` as TensorFlow's Keras wrote it."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
        if published:
            for layer in model.layers:
                group, weights = file[layer.name], {w.path: w for w in layer.weights}
                names = [n.encode() + b":0" for n in group.attrs["weight_names"]]
                group.attrs["weight_names"] = np.array(names, "S80") if names else []
                for name in weights:
                    group.move(name, f"{name}:0")
            layers = np.array([n.encode() for n in file.attrs["layer_names"]])
            del file.attrs["layer_names"]
            file.attrs["layer_names0"], file.attrs["layer_names1"] = layers[:20], layers[20:]
    return path


def write(model, path, layout):
    if layout == "notop":
        return write_legacy(model, path / "net_notop.h5", published=True)
    if layout == "legacy":
        return write_legacy(model, path / "net.h5")
    if layout == "keras3":
        model.save_weights(path / "net.weights.h5")
        return path / "net.weights.h5"
    named = networks.variables(Network(model, []))
    prefix = f"encoder/{model.name}/" if layout == "checkpoint" else ""
    arrays = {prefix + name: v.numpy() for name, v in named.items()}
    if layout == "checkpoint":
        arrays["decoder_both/face_out_0_conv2d/kernel"] = np.zeros(3, "float32")
    save_file(arrays, path / "net.safetensors")
    return path / "net.safetensors"


def inside(network):
    return next(m for m in network.model.get_layer("encoder").layers if isinstance(m, keras.Model))


@pytest.mark.parametrize("layout", ["notop", "legacy", "keras3", "names", "checkpoint"])
def test_the_encoder_does_what_the_files_network_does(teacher, layout, tmp_path):
    path = write(teacher, tmp_path, layout)
    network = small({**STUDENT, "enc_weights": str(path)})
    picture = torch.rand((2, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = teacher(picture, training=False), inside(network)(picture, training=False)
    assert expected.std() > 0
    torch.testing.assert_close(got, expected, atol=0, rtol=0)


def stack(first, inner, last):
    """Two convolutions of one shape, and a norm in a model of its own."""
    keras.utils.clear_session()
    picture = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(2, 1, name=first)(picture)
    x = keras.Sequential([keras.layers.LayerNormalization()], name=inner)(x)
    return keras.Model(picture, keras.layers.Conv2D(2, 1, name=last)(x), name="net")


def network_around(net):
    faces = keras.Input(net.input_shape[1:])
    encoder = keras.Model(faces, net(faces), name="encoder")
    return Network(keras.Model(encoder.input, encoder(encoder.input)), [])


@pytest.mark.parametrize("layout", ["legacy", "keras3"])
@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (("last", "norm", "first"), ("last", "norm", "first")),
        (("conv2d_8", "norm_3", "conv2d_9"), ("first", "norm", "last")),
    ],
    ids=["by name", "by order"],
)
def test_layers_are_matched_by_name_or_else_by_order(layout, held, expected, tmp_path):
    written = randomized(stack(*held))
    path = write(written, tmp_path, layout)
    net = stack("first", "norm", "last")
    load(network_around(net), path)
    for theirs, ours in zip(held, expected, strict=True):
        pairs = zip(written.get_layer(theirs).weights, net.get_layer(ours).weights, strict=True)
        assert all(np.array_equal(one.numpy(), other.numpy()) for one, other in pairs)


@pytest.mark.parametrize("layout", ["legacy", "keras3", "names"])
def test_clip_encoders_read_their_own_weights(layout, tmp_path):
    def net():
        keras.utils.clear_session()
        return vision_transformer((8, 8, 3), ViTSize(patch=4, layers=2, width=128, embedding=5))

    written, ours = randomized(net()), net()
    load(network_around(ours), write(written, tmp_path, layout))
    pairs = zip(written.weights, ours.weights, strict=True)
    assert all(np.array_equal(one.numpy(), other.numpy()) for one, other in pairs)


@pytest.fixture(scope="module")
def efficient():
    """EfficientNetB0 as Keras publishes it: deviations where variances belong."""
    keras.utils.clear_session()
    net = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    normalization = net.get_layer("normalization")
    normalization.adapt_mean.assign(MEANS)
    normalization.adapt_variance.assign(DEVIATIONS)
    return net


def normalized(network, face):
    """What the network makes of a face up to its first convolution."""
    encoder, net = network.model.get_layer("encoder"), inside(network)
    scaled = encoder.layers[1](face)
    return keras.Model(net.input, net.get_layer("normalization").output)(scaled)


def test_efficientnets_colours_are_normalised_now_and_after_a_resume(efficient, tmp_path):
    path = write_legacy(efficient, tmp_path / "efficientnetb0_notop.h5", published=True)
    options = {"enc_architecture": "efficientnet_b0", "enc_weights": str(path)}
    network = small({**options, "bottleneck_type": "max_pooling"})
    face = torch.rand((1, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    expected = (face - torch.tensor(MEANS)) / torch.tensor(DEVIATIONS)
    torch.testing.assert_close(normalized(network, face), expected, atol=1e-4, rtol=1e-4)

    tensors = {n: v.detach() for n, v in networks.weights(network).items()}
    with networks.building(2, "cpu"):
        data = networks.parse(json.dumps(networks.to_json(network)).encode(), "it")
        again = networks.from_json(data, custom_objects(), "it")
    networks.assign(again, tensors, "it")
    networks.apply_precision(again, "fp32", "cpu")
    torch.testing.assert_close(normalized(again, face), expected, atol=1e-4, rtol=1e-4)

    variance = inside(again).get_layer("normalization").adapt_variance
    save_file({n: t.numpy() for n, t in tensors.items()}, tmp_path / "weights.safetensors")
    load(again, tmp_path / "weights.safetensors")
    np.testing.assert_allclose(variance.numpy(), np.square(DEVIATIONS), rtol=1e-6)


def test_where_nothing_is_computed_the_file_is_checked_all_the_same(teacher, tmp_path):
    path = write(teacher, tmp_path, "notop")
    small({**STUDENT, "enc_weights": str(path)}, device="meta")
    with pytest.raises(ConfigError, match="has shape"):
        small({**STUDENT, "mobilenet_width": 0.2, "enc_weights": str(path)}, device="meta")


def damage(path, kind):
    """Make a file of the network into one that must be refused."""
    if kind == "missing":
        path.unlink()
    elif kind == "no file of its kind":
        path.write_bytes(b"nothing of the kind" * 100)
    elif kind == "cut short":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        with h5py.File(path, "r+") as file:
            group = file["first"]
            name = group.attrs["weight_names"][0]
            held = group[name][()]
            DAMAGES[kind](file, group, str(name), held)


def replaced(make):
    def damage(file, group, name, held):
        del group[name]
        make(file, group, name, held)

    return damage


DAMAGES = {
    "no weights": lambda file, *_: file.attrs.__delitem__("layer_names"),
    "a layer less": lambda file, *_: file["first"].attrs.__setitem__("weight_names", []),
    "a name too many": lambda file, group, name, _: group.attrs.__setitem__(
        "weight_names", [name] * 3
    ),
    "gone": replaced(lambda *_: None),
    "soft link": replaced(lambda f, g, n, h: g.__setitem__(n, h5py.SoftLink("/last"))),
    "external link": replaced(lambda f, g, n, h: g.__setitem__(n, h5py.ExternalLink("o.h5", "/x"))),
    "external data": replaced(
        lambda f, g, n, h: g.create_dataset(n, h.shape, "f4", external=[("raw.bin", 0, h.nbytes)])
    ),
    "a group": replaced(lambda f, g, n, h: g.create_group(n)),
    "other shape": replaced(lambda f, g, n, h: g.create_dataset(n, data=h[..., :-1])),
    "whole numbers": replaced(lambda f, g, n, h: g.create_dataset(n, data=h.astype("i4"))),
    "text": replaced(lambda f, g, n, h: g.create_dataset(n, h.shape, h5py.string_dtype())),
}
REFUSED = {
    "missing": "no such file",
    "no file of its kind": "cannot be read",
    "cut short": "cannot be read",
    "no weights": "holds no weights of Keras layers",
    "a layer less": "it has 2 layers with weights, net has 3",
    "a name too many": "layer first needs 2 weights, the file has 3",
    "gone": "it has no first/kernel",
    "soft link": "link to somewhere else; refused",
    "external link": "link to somewhere else; refused",
    "external data": "not a plain data set; refused",
    "a group": "not a plain data set; refused",
    "other shape": "without the classifier (notop)?",
    "whole numbers": "holds no float32 numbers; refused",
    "text": "holds no float32 numbers; refused",
}


@pytest.mark.parametrize(("kind", "words"), REFUSED.items(), ids=list(REFUSED))
def test_what_does_not_fit_is_refused_in_one_line(student, kind, words, tmp_path):
    path = write(stack("first", "norm", "last"), tmp_path, "legacy")
    damage(path, kind)
    with pytest.raises(ConfigError) as error:
        load(student, path)
    (line,) = error.value.problems
    assert line.startswith(f"model.phaze_a: enc_weights {path}: ")
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize("kind", ["keras3", "names"])
def test_other_layouts_are_refused_where_they_do_not_fit(student, kind, tmp_path):
    path = write(stack("first", "norm", "last"), tmp_path, kind)
    if kind == "keras3":
        with h5py.File(path, "r+") as file:
            del file["layers/conv2d/vars/0"]
    else:
        save_file({"first/kernel": np.zeros((1, 1, 2, 2), "float32")}, path)
    with pytest.raises(
        ConfigError, match="it has no 0" if kind == "keras3" else "it has no first/bias"
    ):
        load(student, path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"enc_architecture": "resnet50"}, "Keras Applications publishes one for ResNet50"),
        ({"enc_architecture": "clipv_vit-b-32"}, "a .safetensors file, see the README"),
        (
            {"enc_architecture": "resnet50", "enc_load_weights": False, "enc_weights": "x.h5"},
            "enc_weights names a file that enc_load_weights = false does not read",
        ),
        ({"enc_weights": "x.h5"}, "leave it out with enc_architecture fs_original"),
    ],
)
def test_options_that_clash(options, words):
    with pytest.raises(ConfigError) as error:
        small(options, device="meta")
    assert words in str(error.value)
