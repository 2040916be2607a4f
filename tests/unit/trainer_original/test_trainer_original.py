"""The standard trainer on a small `original`: it learns, and it goes on where it was."""

from __future__ import annotations

import copy
import subprocess
import sys

import attrs
import fs_executor_keras
import fs_trainer_original as plugin
import keras
import numpy as np
import pytest
import torch
from fake_run import FakeRun, random_batch
from fs_kernel import tree
from fs_kernel.config import Config
from fs_kernel.types import BatchMeta
from fs_model_original.network import original
from fs_nn.blocks import Blocks
from fs_nn.losses import SSIM, mae, mse
from fs_nn.optimizers import AdaBelief, adam
from fs_nn.options import LossOptions, OptimizerOptions

SMALL = {"convs": (4, 4, 6, 6), "dense": 8, "bottleneck": 6, "shared": 8, "ups": (8, 6, 4)}
INSTALLED = {
    "losses": {"ssim": SSIM, "mse": mse, "mae": mae},
    "optimizers": {"adam": adam, "adabelief": AdaBelief},
}


def small_network(seed=0, **options):
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    inputs = {side: keras.Input((64, 64, 3), name=f"face_in_{side}") for side in "ab"}
    return attrs.evolve(original(inputs, Blocks(), **SMALL, **options), sides=("a", "b"))


def start(network, loss=None, **optimizer):
    """A trainer's state over a network, through the real forward pass."""
    device = torch.device("cpu")
    run = FakeRun(
        network,
        weights=lambda: named(network),
        config=Config(
            {"loss": LossOptions(**loss or {}), "optimizer": OptimizerOptions(**optimizer)}
        ),
        found=INSTALLED,
        runs=fs_executor_keras.make_forward(network, device),
    )
    return plugin.start_trainer(run)


def named(network):
    return {
        f"{sub.name}/{layer.name}/{v.name}": v.value
        for sub in network.model.layers
        if isinstance(sub, keras.Model)
        for layer in sub.layers
        for v in layer.trainable_variables
    }


def steps(state, network, numbers):
    """Totals of the given steps, each with data of its own."""
    return [
        [
            loss.total.item()
            for loss in plugin.train_batch(state, random_batch(network, 2, n)).losses
        ]
        for n in numbers
    ]


def test_it_learns_one_batch():
    network = small_network()
    state = start(network, learning_rate=1e-4)
    batch = random_batch(network, 2)
    totals = [
        sum(loss.total.item() for loss in plugin.train_batch(state, batch).losses)
        for _ in range(40)
    ]
    assert totals[-1] < totals[0] - 0.01
    assert np.isfinite(totals).all()


@pytest.mark.parametrize("learn_mask", [False, True])
def test_every_weight_is_trained(learn_mask):
    network = small_network(learn_mask=learn_mask)
    before = {name: p.detach().clone() for name, p in named(network).items()}
    result = plugin.train_batch(start(network), random_batch(network, 2))
    unmoved = [name for name, p in named(network).items() if torch.equal(before[name], p)]
    assert unmoved == []
    assert all(p.grad is None for p in named(network).values())
    assert result.stepped
    assert result.learning_rate == 5e-5


def test_the_report_names_sides_losses_and_outputs():
    network = small_network(learn_mask=True)
    result = plugin.train_batch(start(network), random_batch(network, 2))
    assert [loss.side for loss in result.losses] == ["a", "b"]
    for loss in result.losses:
        names = [(part.output, part.function) for part in loss.parts]
        assert names == [("face_64", "ssim"), ("face_64", "mse"), ("mask_64", "mse")]
        parts = sum(part.weighted for part in loss.parts)
        torch.testing.assert_close(loss.total, parts)
        assert not loss.total.requires_grad


def test_sides_do_not_train_each_others_decoder():
    """Side b all masked out: only its decoder stands still."""
    network = small_network()
    batch = random_batch(network, 2)
    for sizes in batch.meta.masks["b"].values():
        sizes[64] = torch.zeros_like(sizes[64])
    before = {name: p.detach().clone() for name, p in named(network).items()}
    plugin.train_batch(start(network), batch)
    unmoved = {n.split("/")[0] for n, p in named(network).items() if torch.equal(before[n], p)}
    assert unmoved == {"decoder_b"}


def test_one_seed_gives_one_run_to_the_bit():
    runs = []
    for _ in range(2):
        network = small_network(seed=3)
        totals = steps(start(network), network, range(4))
        runs.append((totals, named(network)))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(p, runs[1][1][name]) for name, p in runs[0][1].items())
    other = small_network(seed=4)
    assert steps(start(other), other, range(4)) != runs[0][0]


def test_a_restored_trainer_goes_on_to_the_bit():
    network = small_network(seed=5)
    state = start(network)
    steps(state, network, range(3))
    tree = copy.deepcopy(plugin.trainer_state(state))
    kept = {name: p.detach().clone() for name, p in named(network).items()}
    expected = steps(state, network, range(3, 6))

    resumed = small_network(seed=6)
    with torch.no_grad():
        for name, parameter in named(resumed).items():
            parameter.copy_(kept[name])
    fresh, state = start(resumed), start(resumed)
    plugin.restore_trainer(state, tree)
    assert steps(state, resumed, range(3, 6)) == expected
    with torch.no_grad():
        for name, parameter in named(resumed).items():
            parameter.copy_(kept[name])
    assert steps(fresh, resumed, range(3, 6)) != expected


def test_accumulated_batches_change_the_weights_once():
    network = small_network()
    state = start(network, gradient_accumulation=2)
    before = {name: p.detach().clone() for name, p in named(network).items()}
    first = plugin.train_batch(state, random_batch(network, 2, 0))
    assert not first.stepped
    assert all(torch.equal(before[name], p) for name, p in named(network).items())
    second = plugin.train_batch(state, random_batch(network, 2, 1))
    assert second.stepped
    assert not any(torch.equal(before[name], p) for name, p in named(network).items())


def test_everything_a_step_may_keep_goes_on_to_the_bit():
    """Clipping history, warm-up, the average, and gradients that wait, through a checkpoint."""
    options = {
        "optimizer": "adabelief",
        "gradient_clipping": "autoclip",
        "clipping_value": 5.0,
        "gradient_accumulation": 2,
        "warmup_steps": 4,
        "ema_decay": 0.99,
        "learning_rate": 1e-4,
    }
    network = small_network(seed=5)
    state = start(network, **options)
    steps(state, network, range(5))
    packed = tree.pack(plugin.trainer_state(state))
    kept = {name: p.detach().clone() for name, p in named(network).items()}
    expected = steps(state, network, range(5, 9))
    resumed = small_network(seed=6)
    with torch.no_grad():
        for name, parameter in named(resumed).items():
            parameter.copy_(kept[name])
    again = start(resumed, **options)
    plugin.restore_trainer(again, tree.unpack(*packed, "test"))
    assert steps(again, resumed, range(5, 9)) == expected
    averages = [s.optimizer.average.weights() for s in (state, again)]
    assert all(torch.equal(average, averages[1][name]) for name, average in averages[0].items())


def test_batches_without_masks_train_too():
    network = small_network()
    batch = attrs.evolve(random_batch(network, 2), meta=BatchMeta({}, {}))
    result = plugin.train_batch(start(network), batch)
    assert all(torch.isfinite(loss.total) for loss in result.losses)


def test_needs_and_sections():
    assert plugin.config_defaults() == {"loss": LossOptions, "optimizer": OptimizerOptions}
    config = Config({"loss": LossOptions(eye_multiplier=1)})
    assert plugin.batch_needs(config) == {"face", "mouth"}
    sampler = plugin.get_sampler({"a": 5, "b": 3}, 4, 0)
    assert {side: len(drawn) for side, drawn in sampler.draw(1).items()} == {"a": 4, "b": 4}


def test_importing_the_plugin_is_light():
    code = "import sys, fs_trainer_original; print({'torch', 'keras'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
