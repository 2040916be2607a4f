"""Losses that are told more than two pictures: side, step, output, masks and landmarks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from fake_run import FakeRun
from fs_kernel.errors import PluginError
from fs_kernel.types import Batch, BatchMeta, LossContext, Network, Output
from fs_nn.losses import mae
from fs_nn.masked_loss import build_masked_loss
from fs_nn.options import LossOptions

SEEN: list[LossContext] = []


def told(prediction, target, context):
    """Where the masks "face" and "glasses" are, the second with the step as its weight."""
    SEEN.append(context)
    difference = (prediction - target).abs()
    return difference * (context.masks["face"] + context.masks["glasses"] * context.step)


told.required_fields = {"face", "glasses", "landmarks"}


class Told(torch.nn.Module):
    """A module that takes the context in its ``forward``."""

    def forward(self, prediction, target, *, context):
        SEEN.append(context)
        return (prediction - target).abs().mean(dim=(1, 2, 3)) * context.landmarks[:, 0, 0]


Told.required_fields = {"landmarks"}


def confused(prediction, target, context):
    return context.masks["hair"]


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


def network():
    face = keras.Input((8, 8, 3))
    faces = [keras.layers.Rescaling(0.5)(face), keras.layers.UpSampling2D(2)(face)]
    outputs = [Output("a", "face", 8), Output("a", "face", 16)]
    return Network(keras.Model(face, faces), outputs, sides=("a",))


def build(loss, **options):
    chosen = LossOptions(
        loss_function="chosen", loss_function_2="none", penalized_mask_loss=False, **options
    )
    found = {"losses": {"chosen": loss, "mse": mae}}
    return build_masked_loss(FakeRun(network(), config={"loss": chosen}, found=found), chosen)


def batch(step=3):
    chance = torch.Generator().manual_seed(0)

    def noise(size, channels):
        return torch.rand((2, size, size, channels), generator=chance)

    masks = {name: {size: noise(size, 1) for size in (8, 16)} for name in ("face", "glasses")}
    landmarks = torch.rand((2, 68, 2), generator=chance)
    meta = BatchMeta({"a": np.arange(2)}, {"a": masks}, {"a": landmarks})
    return Batch(step, {"a": noise(8, 3)}, {"a": [noise(8, 3), noise(16, 3)]}, meta)


def test_a_third_parameter_is_given_the_context_of_each_output():
    loss, data = build(told), batch()
    SEEN.clear()
    predictions = [torch.zeros(2, size, size, 3) for size in (8, 16)]
    total, report = loss("a", predictions, data)
    assert [context.output.size for context in SEEN] == [8, 16]
    for context, size in zip(SEEN, (8, 16), strict=True):
        assert (context.side, context.step, context.batch) == ("a", 3, data)
        assert context.landmarks is data.meta.landmarks["a"]
        assert context.masks["glasses"].shape == (2, 1, size, size)
    expected = 0.0
    for place, size in enumerate((8, 16)):
        face, glasses = (data.meta.masks["a"][name][size] for name in ("face", "glasses"))
        expected += (data.targets["a"][place] * (face + 3 * glasses)).mean().item()
    assert total.item() == pytest.approx(expected, rel=1e-6)
    assert [part.output for part in report.parts] == ["face_8", "face_16"]


@pytest.mark.parametrize("loss", [told, Told])
def test_it_is_tried_with_what_it_asks_for(loss):
    """On the smallest output, before the first step, with masks and landmarks of its fields."""
    build(loss)
    (context,) = SEEN
    assert (context.output.size, context.step) == (8, 0)
    assert set(context.masks) == loss.required_fields - {"landmarks"}
    assert context.landmarks.shape == (2, 68, 2)
    assert context.batch.inputs["a"].shape == (2, 8, 8, 3)
    assert context.batch.targets["a"][0].shape == (2, 8, 8, 3)


def test_a_module_is_told_too():
    data = batch()
    total, _ = build(Told)("a", [torch.zeros(2, n, n, 3) for n in (8, 16)], data)
    first = data.meta.landmarks["a"][:, 0, 0]
    means = [target.mean(dim=(1, 2, 3)) for target in data.targets["a"]]
    assert total.item() == pytest.approx(((means[0] + means[1]) * first).mean().item(), rel=1e-6)


def test_what_is_not_asked_for_is_not_there_and_the_loss_is_blamed():
    with pytest.raises(PluginError, match="loss 'chosen' failed: KeyError: 'hair'"):
        build(confused)


def test_a_loss_of_masks_is_told_too():
    found = {"losses": {"mae": mae, "told": told}}
    chosen = LossOptions(
        loss_function="mae", loss_function_2="none", mask_loss_function="told",
        penalized_mask_loss=False,
    )  # fmt: skip
    face = keras.Input((8, 8, 3))
    mask = keras.layers.Conv2D(1, 1)(face)
    outputs = [Output("a", "face", 8), Output("a", "mask", 8)]
    of_both = Network(keras.Model(face, [face, mask]), outputs, sides=("a",))
    run = FakeRun(of_both, config={"loss": chosen}, found=found)
    data = batch()
    data.targets["a"][1] = torch.ones(2, 8, 8, 1)
    build_masked_loss(run, chosen)("a", [torch.zeros(2, 8, 8, n) for n in (3, 1)], data)
    (context,) = SEEN
    assert context.output == outputs[1]


def test_no_context_is_made_for_losses_that_take_none(monkeypatch):
    import fs_nn.masked_loss

    monkeypatch.setattr(fs_nn.masked_loss, "LossContext", None)
    build(mae)("a", [torch.zeros(2, size, size, 3) for size in (8, 16)], batch())
