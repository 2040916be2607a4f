"""How losses of pictures become the loss of a side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_run import FakeRun
from fs_kernel import hookimpl
from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.types import Batch, BatchMeta, Network, Output
from fs_nn.losses import MSSSIM, SSIM, mae, mse
from fs_nn.masked_loss import build_masked_loss
from fs_nn.options import LossOptions


def per_picture(prediction, target):
    """A non-spatial loss."""
    return (prediction - target).square().mean(dim=(1, 2, 3))


class Spectrum:
    """A map that has no pixels of the picture."""

    masks_input = True

    def __call__(self, prediction, target):
        return torch.fft.fft2(prediction - target, norm="ortho").abs()


class RedOnly:
    """Looks at the first channel of RGB pictures."""

    color_order = "rgb"

    def __call__(self, prediction, target):
        return (prediction - target)[:, :1].abs()


class Chosen:
    """A loss with options: it is created by a hook."""

    @hookimpl
    def config_defaults(self):
        return {"loss": LossOptions}

    @hookimpl
    def create_loss(self, config):
        factor = config["loss"].loss_weight_4 / 100
        return lambda prediction, target: (prediction - target).abs() * factor


INSTALLED = {
    "ssim": SSIM,
    "mse": mse,
    "mae": mae,
    "per_picture": per_picture,
    "spectrum": Spectrum,
    "red": RedOnly,
    "chosen": Chosen(),
    "/home/me/losses.py:mine": per_picture,
    "C:\\me\\losses.py:mine": per_picture,
    "ms_ssim": MSSSIM,
    "wrong": lambda prediction, target: prediction.mean(),
    "raises": lambda prediction, target: 1 / 0,
}
ONLY = {"loss_function": "mae", "loss_function_2": "none"}


def setup(outputs=(("face", 16),), masks=("face", "eye", "mouth"), color_order="bgr", **options):
    """The loss of one side, noise for its outputs, and a batch."""
    network = Network(
        None, [Output("a", k, s) for k, s in outputs], sides=("a",), color_order=color_order
    )
    chosen = LossOptions(**options)
    run = FakeRun(network, config={"loss": chosen}, found={"losses": INSTALLED})
    masked_loss = build_masked_loss(run, chosen)
    rng = torch.Generator().manual_seed(0)
    channels = {"face": 3, "mask": 1, "aux": 5}

    def noise(kind, size):
        return torch.rand((4, size, size, channels[kind]), generator=rng)

    predictions = [noise(*output).requires_grad_() for output in outputs]
    targets = [None if kind == "aux" else noise(kind, size) for kind, size in outputs]
    sizes = {size for kind, size in outputs if kind == "face"}
    areas = {name: {s: noise("mask", s) for s in sizes} for name in masks}
    batch = Batch(1, {}, {"a": targets}, BatchMeta({}, {"a": areas}))
    return masked_loss, predictions, batch


def values(*tensors):
    return [t.detach().numpy().astype("float64") for t in tensors]


def pieces(predictions, batch, size=16):
    """Prediction, target and the masks in float64."""
    masks = batch.meta.masks["a"]
    return [
        *values(predictions[0], batch.targets["a"][0]),
        {name: values(sizes[size])[0] for name, sizes in masks.items()},
    ]


def test_a_spatial_map_is_masked_then_areas_are_added():
    masked_loss, predictions, batch = setup(**ONLY, eye_multiplier=3, mouth_multiplier=2)
    total, _ = masked_loss("a", predictions, batch)
    p, t, masks = pieces(predictions, batch)
    expected = np.abs(p - t) * masks["face"]
    expected *= (1 + 3 * masks["eye"]) * (1 + 2 * masks["mouth"])
    assert total.item() == pytest.approx(expected.mean(), rel=1e-5)


def test_a_multiplier_of_three_makes_an_area_count_four_times():
    masked_loss, predictions, batch = setup(**ONLY, eye_multiplier=3, mouth_multiplier=1)
    masks = batch.meta.masks["a"]
    masks["face"][16].fill_(1)
    masks["eye"][16].fill_(0)
    plain = masked_loss("a", predictions, batch)[0].item()
    masks["eye"][16].fill_(1)
    assert masked_loss("a", predictions, batch)[0].item() == pytest.approx(4 * plain, rel=1e-5)


def test_f17_a_multiplier_of_the_mouth_alone_is_heard():
    masked_loss, predictions, batch = setup(
        **ONLY, masks=("face", "mouth"), eye_multiplier=1, mouth_multiplier=5
    )
    p, t, masks = pieces(predictions, batch)
    expected = (np.abs(p - t) * masks["face"] * (1 + 5 * masks["mouth"])).mean()
    assert masked_loss("a", predictions, batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_a_multiplier_of_one_is_off_even_if_the_mask_is_there():
    masked_loss, predictions, batch = setup(**ONLY, eye_multiplier=1, mouth_multiplier=1)
    p, t, masks = pieces(predictions, batch)
    expected = (np.abs(p - t) * masks["face"]).mean()
    assert masked_loss("a", predictions, batch)[0].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("masks", "penalized"), [((), True), (("face", "eye", "mouth"), False)], ids=["none", "off"]
)
def test_plain_pictures_without_masks(masks, penalized):
    masked_loss, predictions, batch = setup(**ONLY, masks=masks, penalized_mask_loss=penalized)
    p, t, _ = pieces(predictions, batch)
    total = masked_loss("a", predictions, batch)[0].item()
    assert total == pytest.approx(np.abs(p - t).mean(), rel=1e-5)


def test_non_spatial_losses_see_masked_pictures():
    masked_loss, predictions, batch = setup(
        loss_function="per_picture", loss_function_2="none", eye_multiplier=3, mouth_multiplier=2
    )
    p, t, masks = pieces(predictions, batch)
    square = (p - t) ** 2
    expected = sum(
        factor * (square * masks[name] ** 2).mean()
        for name, factor in (("face", 1), ("eye", 3), ("mouth", 2))
    )
    assert masked_loss("a", predictions, batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_f19_masks_are_applied_to_the_pictures_where_the_map_is_no_picture():
    masked_loss, predictions, batch = setup(
        loss_function="spectrum", loss_function_2="none", eye_multiplier=1, mouth_multiplier=1
    )
    p, t, masks = pieces(predictions, batch)
    spectrum = np.fft.fft2((p - t) * masks["face"], axes=(1, 2), norm="ortho")
    assert masked_loss("a", predictions, batch)[0].item() == pytest.approx(
        np.abs(spectrum).mean(), rel=1e-5
    )


@pytest.mark.parametrize(("order", "red"), [("bgr", 2), ("rgb", 0)])
def test_losses_get_the_colour_order_they_ask_for(order, red):
    masked_loss, predictions, batch = setup(
        loss_function="red", loss_function_2="none", color_order=order, penalized_mask_loss=False
    )
    p, t, _ = pieces(predictions, batch)
    expected = np.abs(p - t)[..., red].mean()
    assert masked_loss("a", predictions, batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_f16_one_loss_twice_counts_twice():
    options = {"loss_function": "mae", "loss_function_2": "mae", "loss_weight_2": 50}
    masked_loss, predictions, batch = setup(**options)
    total, loss = masked_loss("a", predictions, batch)
    assert [part.function for part in loss.parts] == ["mae", "mae"]
    assert total.item() == pytest.approx(1.5 * loss.parts[0].unweighted.item(), rel=1e-6)


def test_weights_are_percent_and_zero_is_off():
    masked_loss, predictions, batch = setup(
        loss_function="mae",
        loss_function_2="mse",
        loss_weight_2=250,
        loss_function_3="ssim",
        loss_weight_3=0,
    )
    _, loss = masked_loss("a", predictions, batch)
    assert [part.function for part in loss.parts] == ["mae", "mse"]
    ratio = loss.parts[1].weighted / loss.parts[1].unweighted
    assert ratio.item() == pytest.approx(2.5)


def test_a_learnt_mask_is_compared_plainly_with_weight_one():
    masked_loss, predictions, batch = setup(
        (("face", 16), ("mask", 16)), **ONLY, mask_loss_function="mse"
    )
    total, loss = masked_loss("a", predictions, batch)
    p, t = values(predictions[1], batch.targets["a"][1])
    part = loss.parts[-1]
    assert (part.function, part.output) == ("mse", "mask_16")
    assert part.weighted.item() == pytest.approx(((p - t) ** 2).mean(), rel=1e-5)
    assert total.item() == pytest.approx(sum(x.weighted.item() for x in loss.parts), rel=1e-6)


def test_outputs_of_several_sizes_add_up_and_others_are_passed_over():
    outputs = (("face", 8), ("aux", 0), ("face", 16))
    masked_loss, predictions, batch = setup(outputs, **ONLY, penalized_mask_loss=False)
    total, loss = masked_loss("a", predictions, batch)
    assert [part.output for part in loss.parts] == ["face_8", "face_16"]
    expected = sum(
        np.abs(p - t).mean()
        for p, t in (values(predictions[i], batch.targets["a"][i]) for i in (0, 2))
    )
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_the_total_has_its_graph_and_the_report_has_none():
    masked_loss, predictions, batch = setup()
    total, loss = masked_loss("a", predictions, batch)
    assert not loss.total.requires_grad
    assert not any(p.weighted.requires_grad or p.unweighted.requires_grad for p in loss.parts)
    total.backward()
    assert predictions[0].grad.abs().sum() > 0
    assert (loss.side, loss.total.item()) == ("a", total.item())


def test_only_masked_pixels_get_gradients():
    masked_loss, predictions, batch = setup(loss_function="mse", loss_function_2="none")
    face = batch.meta.masks["a"]["face"][16]
    face.zero_()
    face[:, 4:8] = 1
    masked_loss("a", predictions, batch)[0].backward()
    rows = predictions[0].grad.abs().sum(dim=(0, 2, 3))
    assert (rows[4:8] > 0).all()
    assert rows.sum() == rows[4:8].sum()


def test_a_loss_of_no_known_form_is_found_at_the_start():
    with pytest.raises(PluginError, match="'wrong' gave a result of shape"):
        setup(loss_function="wrong")


def test_what_a_loss_raises_is_blamed_on_the_loss():
    with pytest.raises(PluginError, match="loss 'raises' failed: ZeroDivisionError: division"):
        setup(loss_function="raises")


def test_a_loss_that_cannot_handle_the_size_is_found_at_the_start():
    with pytest.raises(ConfigError, match="at least 6 pixels"):
        setup((("face", 4),), loss_function="ssim")


def test_starting_draws_no_random_numbers():
    before = torch.get_rng_state()
    setup(loss_function="ssim", loss_function_2="per_picture")
    assert torch.equal(before, torch.get_rng_state())


def test_a_loss_may_be_created_from_options():
    options = {"loss_function": "chosen", "loss_function_2": "none", "loss_weight_4": 250}
    masked_loss, predictions, batch = setup(**options, penalized_mask_loss=False)
    p, t, _ = pieces(predictions, batch)
    total = masked_loss("a", predictions, batch)[0].item()
    assert total == pytest.approx(2.5 * np.abs(p - t).mean(), rel=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_normalized_masks_make_small_faces_count_as_much_as_large_ones(share):
    masked_loss, predictions, batch = setup(
        **ONLY, normalize_masks=True, eye_multiplier=3, mouth_multiplier=1
    )
    masks = batch.meta.masks["a"]
    masks["face"][16].zero_()
    masks["face"][16][:, : int(16 * share)] = 1
    masks["eye"][16].zero_()
    masks["eye"][16][:, :2] = 1
    rows = np.abs(np.subtract(*pieces(predictions, batch)[:2]))[:, : int(16 * share)]
    rows[:, :2] *= 4
    total = masked_loss("a", predictions, batch)[0].item()
    assert total == pytest.approx(rows.mean(), rel=1e-5)


def test_normalized_masks_divide_picture_by_picture_and_bear_empty_masks():
    masked_loss, predictions, batch = setup(
        **ONLY, normalize_masks=True, eye_multiplier=1, mouth_multiplier=1
    )
    face = batch.meta.masks["a"]["face"][16]
    face[0] = 0
    p, t, masks = pieces(predictions, batch)
    maps = np.abs(p - t) * masks["face"]
    means = maps[1:].mean(axis=(1, 2, 3)) / masks["face"][1:].mean(axis=(1, 2, 3))
    total = masked_loss("a", predictions, batch)[0]
    assert total.item() == pytest.approx(means.sum() / len(maps), rel=1e-5)
    total.backward()
    assert torch.isfinite(predictions[0].grad).all()


@pytest.mark.parametrize("loss", ["per_picture", "spectrum"])
def test_losses_that_are_no_maps_of_the_picture_are_not_normalized(loss):
    options = {"loss_function": loss, "loss_function_2": "none"}
    totals = []
    for normalize in (False, True):
        masked_loss, predictions, batch = setup(**options, normalize_masks=normalize)
        totals.append(masked_loss("a", predictions, batch)[0].item())
    assert totals[0] == totals[1]


def test_ms_ssim_at_several_sizes():
    """Each output size gets a window of its own."""
    options = {"loss_function": "ms_ssim", "loss_function_2": "none"}
    masked_loss, predictions, batch = setup((("face", 48), ("face", 96)), **options)
    _, loss = masked_loss("a", predictions, batch)
    assert [part.output for part in loss.parts] == ["face_48", "face_96"]
    assert all(0 < part.unweighted.item() < 3 for part in loss.parts)


@pytest.mark.parametrize("name", ["/home/me/losses.py:mine", "C:\\me\\losses.py:mine"])
def test_a_loss_in_a_file_is_reported_without_its_folder(name):
    """Reports join output and loss with a stroke."""
    masked_loss, predictions, batch = setup(loss_function=name, loss_function_2="none")
    _, loss = masked_loss("a", predictions, batch)
    assert [part.function for part in loss.parts] == ["losses.py:mine"]
