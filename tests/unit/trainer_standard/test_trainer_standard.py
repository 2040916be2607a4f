"""The standard trainer on a small `original`: it learns, and it goes on where it was."""

from __future__ import annotations

import copy
import subprocess
import sys

import attrs
import fs_executor_keras
import keras
import numpy as np
import pytest
import torch
from fake_run import FakeRun, random_batch
from fs_kernel.options import Config
from fs_kernel.storage import tree
from fs_kernel.types import BatchMeta
from fs_model_original.network import original
from fs_nn.blocks import Blocks
from fs_nn.losses import SSIM, mae, mse
from fs_nn.optimizers import AdaBelief, adam
from fs_nn.options import LossOptions, OptimizerOptions, SamplerOptions
from fs_trainer_standard import plugin

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


def configure(loss=None, sampler="uniform", **optimizer):
    return Config(
        {
            "loss": LossOptions(**loss or {}),
            "optimizer": OptimizerOptions(**optimizer),
            "trainer.standard": SamplerOptions(sampler=sampler),
        }
    )


def start(network, loss=None, **options):
    """A trainer's state over a network, through the real forward pass."""
    device = torch.device("cpu")
    run = FakeRun(
        network,
        weights=lambda: named(network),
        config=configure(loss, **options),
        found=INSTALLED,
        runs=fs_executor_keras.make_forward(network, device),
    )
    return plugin.create_trainer(run)


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
        [loss.total.item() for loss in state.train_step(random_batch(network, 2, n)).losses]
        for n in numbers
    ]


def test_it_learns_one_batch():
    network = small_network()
    state = start(network, learning_rate=1e-4)
    batch = random_batch(network, 2)
    totals = [sum(loss.total.item() for loss in state.train_step(batch).losses) for _ in range(40)]
    assert totals[-1] < totals[0] - 0.01
    assert np.isfinite(totals).all()


@pytest.mark.parametrize("learn_mask", [False, True])
def test_every_weight_is_trained(learn_mask):
    network = small_network(learn_mask=learn_mask)
    before = {name: p.detach().clone() for name, p in named(network).items()}
    result = start(network).train_step(random_batch(network, 2))
    unmoved = [name for name, p in named(network).items() if torch.equal(before[name], p)]
    assert unmoved == []
    assert all(p.grad is None for p in named(network).values())
    assert result.stepped
    assert result.learning_rate == 5e-5


def test_the_report_names_sides_losses_and_outputs():
    network = small_network(learn_mask=True)
    result = start(network).train_step(random_batch(network, 2))
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
    start(network).train_step(batch)
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
    tree = copy.deepcopy(state.state_dict())
    kept = {name: p.detach().clone() for name, p in named(network).items()}
    expected = steps(state, network, range(3, 6))

    resumed = small_network(seed=6)
    with torch.no_grad():
        for name, parameter in named(resumed).items():
            parameter.copy_(kept[name])
    fresh, state = start(resumed), start(resumed)
    state.load_state_dict(tree)
    assert steps(state, resumed, range(3, 6)) == expected
    with torch.no_grad():
        for name, parameter in named(resumed).items():
            parameter.copy_(kept[name])
    assert steps(fresh, resumed, range(3, 6)) != expected


def test_accumulated_batches_change_the_weights_once():
    network = small_network()
    state = start(network, gradient_accumulation=2)
    before = {name: p.detach().clone() for name, p in named(network).items()}
    first = state.train_step(random_batch(network, 2, 0))
    assert not first.stepped
    assert all(torch.equal(before[name], p) for name, p in named(network).items())
    second = state.train_step(random_batch(network, 2, 1))
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
    packed = tree.pack(state.state_dict())
    kept = {name: p.detach().clone() for name, p in named(network).items()}
    expected = steps(state, network, range(5, 9))
    resumed = small_network(seed=6)
    with torch.no_grad():
        for name, parameter in named(resumed).items():
            parameter.copy_(kept[name])
    again = start(resumed, **options)
    again.load_state_dict(tree.unpack(*packed, "test"))
    assert steps(again, resumed, range(5, 9)) == expected
    averages = [s.optimizer.average.weights() for s in (state, again)]
    assert all(torch.equal(average, averages[1][name]) for name, average in averages[0].items())


def test_batches_without_masks_train_too():
    network = small_network()
    batch = attrs.evolve(random_batch(network, 2), meta=BatchMeta({}, {}))
    result = start(network).train_step(batch)
    assert all(torch.isfinite(loss.total) for loss in result.losses)


def test_needs_and_sections():
    assert plugin.config_defaults() == {
        "loss": LossOptions,
        "optimizer": OptimizerOptions,
        "trainer.standard": SamplerOptions,
    }
    config = Config({"loss": LossOptions(eye_multiplier=1)})
    assert plugin.required_fields(config) == {"face", "eye", "mouth"}


@pytest.mark.parametrize("kind", ["uniform", "yaw", "loss"])
def test_the_sampler_is_the_chosen_one(kind):
    facts = {side: {"yaw": np.linspace(-40, 40, n)} for side, n in (("a", 5), ("b", 3))}
    sampler = plugin.get_sampler({"a": 5, "b": 3}, 4, 0, 2, facts, configure(sampler=kind))
    assert type(sampler).__name__.lower() == f"{kind}sampler"
    assert {side: len(drawn) for side, drawn in sampler.draw(1).items()} == {"a": 4, "b": 4}


def test_losses_of_faces_are_told_only_to_a_sampler_that_wants_them():
    network = small_network()
    batch = random_batch(network, 3)
    assert start(network).train_step(batch).sample_loss is None
    result = start(network, sampler="loss").train_step(batch)
    for loss in result.losses:
        samples = result.sample_loss[loss.side]
        assert samples.shape == (3,)
        assert not samples.requires_grad
        assert len(set(samples.tolist())) == 3
        torch.testing.assert_close(samples.mean(), loss.total)


# --- options that change while a run goes on ---


def change(state, loss=None, **options):
    """As the engine does: the run's options are others, then the trainer is told."""
    state.run.config = configure(loss, **options)
    state.on_options_changed(state.run.config)


ALL = {
    "learning_rate": 1e-6,
    "epsilon_exponent": -3,
    "weight_decay": 0.5,
    "gradient_clipping": "autoclip",
    "clipping_value": 5.0,
    "gradient_accumulation": 2,
    "ema_decay": 0.5,
}
CHANGES = {
    "learning_rate": ({}, {"learning_rate": 1e-6}),
    "epsilon": ({}, {"epsilon_exponent": -2}),
    "decay": ({}, {"weight_decay": 1.0}),
    "clipping": ({}, {"gradient_clipping": "value", "clipping_value": 0.001}),
    "history": (
        {"gradient_clipping": "autoclip"},
        {"gradient_clipping": "autoclip", "autoclip_history": 2, "clipping_value": 3.0},
    ),
    "accumulation": ({"gradient_accumulation": 2}, {"gradient_accumulation": 3}),
    "warm-up": ({}, {"warmup_steps": 10}),
    "weights": ({}, {"loss": {"loss_weight_2": 400}}),
    "multipliers": (
        {"loss": {"eye_multiplier": 1, "mouth_multiplier": 1}},
        {"loss": {"eye_multiplier": 9, "mouth_multiplier": 3}},
    ),
    "everything on": ({}, ALL),
    "everything off": (ALL, {}),
}


def keep(state, network):
    """Weights and trainer as a checkpoint holds them."""
    packed = tree.pack(state.state_dict())
    return {name: p.detach().clone() for name, p in named(network).items()}, packed


def resume(kept, packed, **options):
    network = small_network(seed=9)
    with torch.no_grad():
        for name, parameter in named(network).items():
            parameter.copy_(kept[name])
    state = start(network, **options)
    state.load_state_dict(tree.unpack(*packed, "test"))
    return state, network


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_while_training_is_a_stop_and_a_resume_with_it(name):
    before, after = CHANGES[name]
    network = small_network(seed=5)
    state = start(network, **before)
    steps(state, network, range(3))
    kept = keep(state, network)
    resumed, other = resume(*kept, **after)

    change(state, **after)
    assert steps(state, network, range(3, 6)) == steps(resumed, other, range(3, 6))
    weights = named(other)
    assert all(torch.equal(p, weights[n]) for n, p in named(network).items())
    averages = [plugin.averaged_weights(s.state_dict()) for s in (state, resumed)]
    assert (averages[0] is None) == (averages[1] is None)
    for weight, average in (averages[0] or {}).items():
        assert torch.equal(average, averages[1][weight])
    unchanged, same_options = resume(*kept, **before)
    steps(unchanged, same_options, range(3, 6))
    without = named(same_options)
    assert not all(torch.equal(p, without[n]) for n, p in named(network).items())


def test_a_program_may_set_any_rate():
    """The finder of learning rates begins at 1e-10, far below what a user may write."""
    network = small_network()
    state = start(network)
    steps(state, network, range(1))
    change(state, learning_rate=1e-10)
    before = {name: p.detach().clone() for name, p in named(network).items()}
    result = state.train_step(random_batch(network, 2))
    assert result.learning_rate == 1e-10
    moved = max((p - before[n]).abs().max().item() for n, p in named(network).items())
    assert moved < 1e-8


def test_the_rate_that_is_told_is_the_one_of_the_warm_up():
    network = small_network()
    state = start(network, warmup_steps=4, learning_rate=1e-4, gradient_accumulation=2)
    told, used = [], []
    for number in range(12):
        told.append(state.train_step(random_batch(network, 2, number)).learning_rate)
        used.append(state.optimizer._optimizer.param_groups[0]["lr"])
    assert told[1::2] == used[1::2] == pytest.approx([2.5e-5, 5e-5, 7.5e-5, 1e-4, 1e-4, 1e-4])
    assert told[::2] == told[1::2], "while gradients wait, the rate they will be used with"


def test_a_multiplier_raised_while_training_counts_at_once():
    network = small_network()
    state = start(network, loss={"eye_multiplier": 1, "mouth_multiplier": 1})
    batch = random_batch(network, 2)
    low = state.train_step(batch).losses[0].total.item()
    change(state, loss={"eye_multiplier": 40, "mouth_multiplier": 1}, learning_rate=1e-6)
    assert state.train_step(batch).losses[0].total.item() > 1.5 * low


def test_a_change_that_cannot_be_made_changes_nothing():
    network = small_network(seed=5)
    state = start(network)
    kept = keep(state, network)
    expected = steps(*resume(*kept), range(2))
    with pytest.raises(KeyError):
        state.on_options_changed(
            configure({"loss_function_3": "gone", "loss_weight_3": 9}, learning_rate=1e-6)
        )
    assert steps(state, network, range(2)) == expected


# --- the average of the weights ---


def test_the_average_is_found_in_a_checkpoint():
    network = small_network()
    state = start(network, ema_decay=0.9)
    steps(state, network, range(3))
    saved = tree.unpack(*tree.pack(state.state_dict()), "test")
    averages = plugin.averaged_weights(saved)
    weights = named(network)
    assert averages.keys() == weights.keys()
    for name, average in averages.items():
        assert average.shape == weights[name].shape
        assert not torch.equal(average, weights[name])
        assert (average - weights[name]).abs().max() < 1e-3


def test_without_an_average_there_is_none():
    network = small_network()
    assert plugin.averaged_weights(start(network).state_dict()) is None


def test_importing_the_plugin_is_light():
    code = "import sys, fs_trainer_standard; print({'torch', 'keras'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
