"""All four slots of losses at once, each with its weight."""

from __future__ import annotations

import pytest
import torch
from fake_run import FakeRun
from fs_kernel.types import Batch, BatchMeta, Network, Output
from fs_nn.losses import l_inf_norm, logcosh, mae, mse
from fs_nn.masked_loss import build_masked_loss
from fs_nn.options import LossOptions

LOSSES = {"mae": mae, "mse": mse, "logcosh": logcosh, "l_inf_norm": l_inf_norm}


def test_four_losses_add_up_by_their_weights():
    options = LossOptions(
        loss_function="mae",
        loss_function_2="mse",
        loss_weight_2=50,
        loss_function_3="logcosh",
        loss_weight_3=200,
        loss_function_4="l_inf_norm",
        loss_weight_4=10,
        penalized_mask_loss=False,
    )
    network = Network(None, [Output("a", "face", 16)], sides=("a",))
    run = FakeRun(network, found={"losses": LOSSES})
    rng = torch.Generator().manual_seed(1)
    prediction, target = (torch.rand((2, 16, 16, 3), generator=rng) for _ in range(2))
    batch = Batch(1, {"a": target}, {"a": [target]}, BatchMeta({}, {"a": {}}))
    _, loss = build_masked_loss(run, options)("a", [prediction], batch)
    parts = {part.function: part for part in loss.parts}
    expected = {"mae": 1.0, "mse": 0.5, "logcosh": 2.0, "l_inf_norm": 0.1}
    assert list(parts) == list(expected)
    y, p = (picture.permute(0, 3, 1, 2) for picture in (target, prediction))
    for name, weight in expected.items():
        own = LOSSES[name](p, y).mean().item()
        assert parts[name].unweighted.item() == pytest.approx(own, rel=1e-5)
        assert parts[name].weighted.item() == pytest.approx(weight * own, rel=1e-5)
    total = sum(part.weighted for part in loss.parts).item()
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
