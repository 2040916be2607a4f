"""LPIPS against the numbers of its authors' package, and its weight files."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np
import pytest
import torch
from fake_run import FakeRun
from fs_kernel.errors import ConfigError
from fs_kernel.options import Config
from fs_kernel.types import Network, Output
from fs_nn.losses import (
    LPIPSVGG16,
    LPIPSAlex,
    LPIPSSqueeze,
    lpips_alex,
    lpips_squeeze,
    lpips_vgg16,
    mse,
)
from fs_nn.masked_loss import build_masked_loss
from fs_nn.options import LossOptions
from nn_pictures import noise, waves
from safetensors.torch import save_file

CLASSES = {cls.name: cls for cls in (LPIPSAlex, LPIPSSqueeze, LPIPSVGG16)}
PLUGINS = {plugin.name: plugin for plugin in (lpips_alex, lpips_squeeze, lpips_vgg16)}
#: lpips 0.1.4 (PyPI) over torchvision 0.29's networks with the weights of `drawn`, spatial, on
#: `waves(64, 0.0)` and `waves(64, 1.0)`: the mean, and the pixels (0, 0), (10, 40), (32, 32),
#: (63, 3). The package crops no borders and does not scale the result.
AUTHORS = {
    "lpips_alex": (0.2816892, (0.3441915, 0.3101624, 0.3071177, 0.3212131)),
    "lpips_squeeze": (0.2969220, (0.2859856, 0.3490313, 0.3770368, 0.3198202)),
    "lpips_vgg16": (0.2867633, (0.3032831, 0.3206159, 0.2923886, 0.2958428)),
}


def drawn(shape, seed):
    """Weights that anybody can draw again (RandomState's stream is frozen)."""
    numbers = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    spread = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) == 4 else 0.1
    return torch.from_numpy(numbers) * np.float32(spread)


def weights(cls):
    """Features by name, and heads, of a class."""
    with torch.device("meta"):
        wanted = cls.backbone.make().state_dict()
    features = {name: drawn(tuple(v.shape), i) for i, (name, v) in enumerate(wanted.items())}
    heads = [drawn((1, c, 1, 1), 100 + i).abs() for i, c in enumerate(cls.backbone.widths)]
    return features, heads


@pytest.mark.parametrize("name", CLASSES)
def test_it_is_the_authors(name):
    mean, pixels = AUTHORS[name]
    cls = CLASSES[name]
    features, heads = weights(cls)

    class Whole(cls):
        backbone = attrs.evolve(cls.backbone, crops=(0,) * len(heads))

    value = Whole(heads, features)(waves(64, 0.0), waves(64, 1.0))[0, 0] * 10
    assert value.mean().item() == pytest.approx(mean, abs=1e-5)
    found = [value[place].item() for place in ((0, 0), (10, 40), (32, 32), (63, 3))]
    assert found == pytest.approx(pixels, abs=1e-5)


@pytest.fixture(scope="module")
def alex():
    features, heads = weights(LPIPSAlex)
    return LPIPSAlex(heads, features)


def test_borders_of_the_features_are_left_out(alex):
    """Only the outermost pixels differ, so the first layer's inner features do not."""
    one, other = waves(96, 0.0), waves(96, 0.0)
    features = list(alex._features(one))
    assert [f.shape[-1] for f in features] == [23, 11, 5, 5, 5]
    inner = [f.shape[-1] - 2 * crop for f, crop in zip(features, (2, 2, 1, 1, 1), strict=True)]
    assert inner == [19, 7, 3, 3, 3]
    assert alex(one, other).abs().max().item() == 0
    assert alex(one, waves(96, 1.0)).shape == (1, 1, 96, 96)


def test_gradients_are_true_and_finite_even_where_all_features_are_zero(alex):
    target = waves(64, 1.0)
    for start in (target.clone(), torch.zeros_like(target), waves(64, 0.0)):
        prediction = start.requires_grad_()
        alex(prediction, target).mean().backward()
        assert torch.isfinite(prediction.grad).all()
    features, heads = weights(LPIPSAlex)
    double = LPIPSAlex(heads, features).double()
    direction = noise(3, target.shape).double() - 0.5
    at = waves(64, 0.0).double().requires_grad_()
    double(at, target.double()).mean().backward()
    with torch.no_grad():
        ahead, behind = (double(at + h * direction, target.double()).mean() for h in (1e-6, -1e-6))
    slope = (at.grad * direction).sum().item()
    assert ((ahead - behind) / 2e-6).item() == pytest.approx(slope, rel=1e-4)


def test_no_weight_trains(alex):
    assert not any(p.requires_grad for p in alex.parameters())


def test_making_one_draws_no_random_numbers(tmp_path):
    options = files(tmp_path)
    before = torch.get_rng_state()
    create(lpips_alex, options)
    assert torch.equal(before, torch.get_rng_state())


def test_a_picture_that_is_too_small_is_said(alex):
    alex(noise(1, (1, 3, 63, 63)), noise(2, (1, 3, 63, 63)))
    with pytest.raises(ConfigError, match="lpips_alex cannot see pictures of 62 pixels"):
        alex(noise(1, (1, 3, 62, 62)), noise(2, (1, 3, 62, 62)))


# --- files ---


def files(folder, suffix=".pth", features="alexnet", heads="alex", damage=None):
    """The two files of lpips_alex, laid out as torchvision's and the package's."""
    blocks, lins = weights(LPIPSAlex)
    contents = {
        features: {
            **{f"features.{n}": t for n, t in blocks.items()},
            "classifier.1.weight": torch.zeros(2, 2),
        },
        heads: {f"lin{i}.model.1.weight": t for i, t in enumerate(lins)},
    }
    if damage:
        damage(contents)
    for stem, tensors in contents.items():
        save = save_file if suffix == ".safetensors" else torch.save
        save(tensors, folder / f"{stem}{suffix}")
    return LossOptions(lpips_weights=str(folder))


def create(plugin, options):
    return plugin.create_loss(Config({"loss": options}))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_files(tmp_path, alex, suffix):
    loss = create(lpips_alex, files(tmp_path, suffix))
    pair = waves(64, 0.0), waves(64, 1.0)
    assert torch.equal(loss(*pair), alex(*pair))


def test_the_masked_loss_reads_them(tmp_path):
    network = Network(None, [Output("a", "face", 64)], sides=("a",), color_order="bgr")
    chosen = {"loss_function": "lpips_alex", "loss_function_2": "none"}

    def build(options):
        found = {"losses": {**PLUGINS, "mse": mse}}
        return build_masked_loss(FakeRun(network, config={"loss": options}, found=found), options)

    with pytest.raises(ConfigError, match=r"lpips_alex needs a file alexnet\*\.pth"):
        build(LossOptions(**chosen))
    build(LossOptions(**chosen, lpips_weights=files(tmp_path).lpips_weights))


@pytest.mark.parametrize("missing", ["alexnet", "alex"])
def test_a_missing_file_is_named_with_where_to_get_it(tmp_path, missing):
    options = files(tmp_path)
    (tmp_path / f"{missing}.pth").unlink()
    with pytest.raises(ConfigError) as caught:
        create(lpips_alex, options)
    text = str(caught.value)
    assert f"needs a file {missing}*.pth" in text
    assert "torchvision's AlexNet weights" in text
    assert "package lpips" in text
    assert str(tmp_path) in text
    assert "\n" not in text


def test_no_folder_and_a_wrong_folder_are_said(tmp_path):
    with pytest.raises(ConfigError, match="now not set"):
        create(lpips_squeeze, LossOptions())
    with pytest.raises(ConfigError, match=r"now '.*nowhere'"):
        create(lpips_squeeze, LossOptions(lpips_weights=str(tmp_path / "nowhere")))


def test_torchvisions_names_are_held_against_their_digits(tmp_path):
    options = files(tmp_path)
    path = tmp_path / "alexnet.pth"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    right = path.rename(tmp_path / f"alexnet-owt-{digest[:8]}.pth")
    create(lpips_alex, options)
    right.rename(tmp_path / "alexnet-owt-01234567.pth")
    with pytest.raises(ConfigError, match=f"damaged: its SHA-256 begins with {digest[:8]}"):
        create(lpips_alex, options)


def test_digests_of_the_user_are_compared(tmp_path):
    options = files(tmp_path)
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(tmp_path.iterdir())]
    create(lpips_alex, attrs.evolve(options, lpips_sha256=[d.upper() for d in digests]))
    with pytest.raises(ConfigError, match=f"alexnet.pth has the SHA-256 {digests[1]}"):
        create(lpips_alex, attrs.evolve(options, lpips_sha256=digests[:1]))


def test_two_files_for_one_network_are_refused(tmp_path):
    options = files(tmp_path)
    (tmp_path / "alexnet-other.pth").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"holds both alexnet-other\.pth and alexnet\.pth"):
        create(lpips_alex, options)


def drop(contents):
    del contents["alexnet"]["features.3.weight"]


def reshape(contents):
    contents["alex"]["lin2.model.1.weight"] = torch.zeros(1, 7, 1, 1)


def whole_model(contents):
    contents["alexnet"] = {"epoch": 3, "state": contents["alexnet"]}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"alexnet\.pth holds no 'features\.3\.weight'"),
        (reshape, r"alex\.pth: 'lin2\.model\.1\.weight' has shape \[1, 7, 1, 1\]"),
        (whole_model, r"alexnet\.pth holds no weights by name"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, damage, message):
    with pytest.raises(ConfigError, match=message):
        create(lpips_alex, files(tmp_path, damage=damage))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_one_line(tmp_path, suffix):
    options = files(tmp_path, suffix)
    path = tmp_path / f"alexnet{suffix}"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be read as weights") as caught:
        create(lpips_alex, options)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_would_run_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    options = files(tmp_path)
    torch.save({"features.0.weight": Trap()}, tmp_path / "alexnet.pth")
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        create(lpips_alex, options)
    assert not (tmp_path / "sprung").exists()
