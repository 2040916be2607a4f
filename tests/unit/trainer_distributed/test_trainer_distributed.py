"""All GPUs in one process: on simulated ones every step is that of one device."""

from __future__ import annotations

import json
from types import SimpleNamespace

import attrs
import fs_executor_keras
import fs_executor_torch
import fs_trainer_distributed
import fs_trainer_standard
import keras
import numpy as np
import pytest
import simulated
import torch
from fake_run import FakeRun, random_batch
from fs_kernel import networks
from fs_kernel.errors import ConfigError
from fs_kernel.options import Config
from fs_kernel.testing import tiny_run
from fs_kernel.training import batches
from fs_kernel.types import BatchMeta
from fs_model_original.network import original
from fs_nn.blocks import Blocks
from fs_nn.losses import SSIM, mae, mse
from fs_nn.optimizers import adam
from fs_nn.options import LossOptions, OptimizerOptions, SamplerOptions
from fs_trainer_distributed import gpus

SMALL = {"convs": (4, 4, 6, 6), "dense": 8, "bottleneck": 6, "shared": 8, "ups": (8, 6, 4)}
INSTALLED = {"losses": {"ssim": SSIM, "mse": mse, "mae": mae}, "optimizers": {"adam": adam}}
FAST, KERAS = fs_executor_torch, fs_executor_keras


def small_network():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    keras.config.set_floatx("float64")
    try:
        inputs = {side: keras.Input((64, 64, 3), name=f"face_in_{side}") for side in "ab"}
        network = original(inputs, Blocks(), **SMALL, learn_mask=True)
    finally:
        keras.config.set_floatx("float32")
    return attrs.evolve(network, sides=("a", "b"))


def exact_batch(network, size):
    """In float64, so that only another order of sums can make a difference."""
    return batches.mapped(random_batch(network, size), lambda tensor: tensor.double())


def configure(**loss):
    return Config(
        {
            "loss": LossOptions(**{"loss_function": "mae", **loss}),
            "optimizer": OptimizerOptions(),
            "trainer.distributed": SamplerOptions(sampler="loss"),
            "trainer.standard": SamplerOptions(sampler="loss"),
        }
    )


def start(trainer, network, executor=FAST, objectives=()):
    forward = executor.make_forward(network, simulated.CPU)
    run = FakeRun(
        network,
        weights=lambda: networks.parameters(network),
        config=configure(),
        found=INSTALLED,
        runs=forward,
        module=getattr(forward, "module", None),
        objectives=objectives,
        info=SimpleNamespace(precision="fp32", executor="keras" if executor is KERAS else "torch"),
    )
    return trainer.plugin.create_trainer(run)


def gradients(state, batch):
    """The gradients of a batch, its losses, and the loss of each face."""
    totals, losses = state.measure(batch)
    sum(total.mean() for total in totals).backward()
    found = {name: p.grad.clone() for name, p in state.run.parameters().items()}
    for parameter in state.run.parameters().values():
        parameter.grad = None
    return found, losses, totals


@pytest.fixture(params=[(2, 4), (2, 5), (3, 8), (4, 3)], ids=str)
def shared(request, monkeypatch):
    """A batch on one device, and the same shared by several."""
    count, size = request.param
    network = small_network()
    batch = exact_batch(network, size)
    alone = gradients(start(fs_trainer_standard, network), batch)
    simulated.install(monkeypatch, count)
    state = start(fs_trainer_distributed, network)
    return alone, gradients(state, batch), state, (count, size)


def test_gradients_and_losses_are_those_of_one_device(shared):
    """Also where the shares are unequal, or a device is left without one."""
    (wanted, losses, totals), (found, shared_losses, shared_totals), state, (count, size) = shared
    assert sum(state.replicas.sizes[0]) == size
    assert 2 <= len(state.replicas.sizes[0]) <= count
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)
        assert gradient.abs().max() > 0, name
    for one, other in zip(totals, shared_totals, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    for one, other in zip(losses, shared_losses, strict=True):
        assert one.side == other.side
        torch.testing.assert_close(one.total, other.total, rtol=1e-9, atol=1e-12)
        for part, same in zip(one.parts, other.parts, strict=True):
            assert (part.function, part.output) == (same.function, same.output)
            torch.testing.assert_close(part.weighted, same.weighted, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(part.unweighted, same.unweighted, rtol=1e-9, atol=1e-12)
            assert not same.weighted.requires_grad


def test_a_step_reports_and_changes_what_one_device_does(monkeypatch):
    results = []
    for count in (1, 2):
        simulated.install(monkeypatch, count)
        network = small_network()
        state = start(fs_trainer_distributed, network)
        assert (state.replicas is None) == (count == 1)
        result = state.train_step(exact_batch(network, 4))
        results.append((result, networks.parameters(network)))
    (one, weights), (two, same) = results
    assert two.stepped
    assert two.learning_rate == one.learning_rate
    for side, losses in one.sample_loss.items():
        torch.testing.assert_close(two.sample_loss[side], losses, rtol=1e-9, atol=1e-12)
    for name, parameter in weights.items():
        torch.testing.assert_close(same[name], parameter, rtol=1e-9, atol=1e-12)


def test_changed_weights_of_losses_reach_every_gpu(monkeypatch):
    simulated.install(monkeypatch, 2)
    network = small_network()
    state, batch = start(fs_trainer_distributed, network), exact_batch(network, 4)
    before = gradients(state, batch)[1]
    state.on_options_changed(configure(loss_weight_2=400))
    after = gradients(state, batch)[1]
    added = 3 * before[0].parts[1].unweighted
    torch.testing.assert_close(after[0].total, before[0].total + added, rtol=1e-9, atol=1e-12)


def test_replaced_weights_change_what_a_lowered_network_gives():
    """What DataParallel lives on; acting on the Keras model they change nothing, silently."""
    network, batch = small_network(), None
    module = FAST.make_forward(network, simulated.CPU).module
    batch = exact_batch(network, 2)
    pictures = [batch.inputs[side] for side in network.sides]
    with torch.no_grad():
        before = module(*pictures)
        doubled = {name: p * 2 for name, p in module.named_parameters()}
        after = torch.func.functional_call(module, doubled, tuple(pictures))
    changed = [not torch.allclose(one, other) for one, other in zip(before, after, strict=True)]
    assert all(changed)
    copies = {f"model.{name}": p * 2 for name, p in network.model.named_parameters()}
    with torch.no_grad():
        same = torch.func.functional_call(Named(network.model), copies, (pictures,))
    assert all(torch.equal(a, b) for a, b in zip(same, network.model(pictures), strict=True))


class Named(torch.nn.Module):
    """A Keras model as the child of a torch module."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pictures):
        return self.model(pictures)


def test_a_keras_model_is_refused_with_what_to_do(monkeypatch):
    simulated.install(monkeypatch, 2)
    with pytest.raises(ConfigError, match=r"executor 'keras'.*--set training\.executor=torch$"):
        start(fs_trainer_distributed, small_network(), KERAS)


def test_a_network_that_is_lowered_in_part_is_refused(monkeypatch):
    simulated.install(monkeypatch, 2)
    network = small_network()
    lower = FAST.make_forward

    def partly(*arguments):
        forward = lower(*arguments)
        forward.module.fallbacks = ["encoder", "decoder_a"]
        return forward

    monkeypatch.setattr(FAST, "make_forward", partly)
    with pytest.raises(ConfigError, match="leaves 'encoder' and 1 more to Keras"):
        start(fs_trainer_distributed, network)


class Brightness:
    """An objective without anything of its own."""

    def terms(self, batch, outputs):
        return {"a": {"bright": outputs[0].mean(dim=(1, 2, 3))}}

    def train_step(self):
        return {}


def test_objectives_are_added_on_one_device_and_refused_on_several(monkeypatch):
    simulated.install(monkeypatch, 2)
    with pytest.raises(ConfigError, match=r"cannot add objectives on several GPUs; choose.*'ddp'"):
        start(fs_trainer_distributed, small_network(), objectives=[Brightness()])
    simulated.install(monkeypatch, 1)
    network = small_network()
    state = start(fs_trainer_distributed, network, objectives=[Brightness()])
    result = state.train_step(exact_batch(network, 4))
    parts = [(part.output, part.function) for part in result.losses[0].parts]
    assert parts[-1] == ("objective", "bright")


# --- batches and GPUs ---


@pytest.mark.parametrize(
    ("wish", "count", "given", "line"),
    [
        (8, 4, 8, None),
        (3, 4, 4, "a batch of 3 is smaller than the number of GPUs: it is 4 now"),
        (10, 4, 10, "use -b 8 or -b 12"),
    ],
)
def test_a_batch_fits_the_gpus(wish, count, given, line):
    fitted, lines = simulated.warned(lambda: gpus.fitting_batch(wish, count))
    assert fitted == given
    assert len(lines) == (line is not None)
    assert not line or line in lines[0]


def test_unequal_gpus_are_named_in_one_line(monkeypatch):
    kinds = [(24 << 30, 80), (24 << 30, 80), (8 << 30, 20)]
    found = [SimpleNamespace(total_memory=m, multi_processor_count=c) for m, c in kinds]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda gpu: found[gpu.index])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    seen = gpus.visible(torch.device("cuda", 1))
    assert [gpu.index for gpu in seen] == [1, 0, 2]
    _, lines = simulated.warned(lambda: gpus.warn_of_unequal(seen))
    assert len(lines) == 1
    assert "GPU 2 has 33% of the memory of GPU 1" in lines[0]
    assert lines[0].endswith("CUDA_VISIBLE_DEVICES=0,1")
    _, lines = simulated.warned(lambda: gpus.warn_of_unequal(seen[:2]))
    assert lines == []


def test_torch_does_not_warn_of_them_again(monkeypatch):
    def balance(device_ids):
        import warnings

        warnings.warn("There is an imbalance between your GPUs.", stacklevel=2)

    module = torch.nn.parallel.data_parallel.__globals__
    monkeypatch.setitem(module, "_check_balance", balance)
    monkeypatch.setitem(module, "_get_available_device_type", lambda: "cuda")
    model = torch.nn.Module()
    made, lines = simulated.warned(
        lambda: fs_trainer_distributed.replicas.Replicas(
            model, [torch.device("cuda", 0), torch.device("cuda", 1)]
        )
    )
    assert made.device_ids == [0, 1]
    assert lines == []


def warnings_of(folder):
    """What the user was warned of in the run of a folder."""
    lines = (folder / "model/logs/events.jsonl").read_text().splitlines()
    return [e["message"] for e in map(json.loads, lines) if e["event"] == "warning"]


def test_without_a_second_gpu_it_trains_as_standard_and_says_so(tmp_path):
    runs = {}
    for trainer in ("standard", "distributed"):
        folder = tmp_path / trainer
        folder.mkdir()
        with tiny_run(folder, trainer=trainer) as run:
            losses = [run.advance().losses for _ in range(2)]
            weights = {n: v.clone() for n, v in networks.weights(run.network).items()}
            runs[trainer] = losses, weights, warnings_of(folder)
    (losses, weights, _), (same, held, lines) = runs.values()
    assert losses == same
    assert all(torch.equal(value, held[name]) for name, value in weights.items())
    assert "trainer 'distributed' sees no GPU and trains as 'standard' would" in lines


def test_a_batch_that_was_raised_reaches_the_feed_and_the_sampler(tmp_path, monkeypatch):
    """In faceswap the loader keeps the small batch."""
    simulated.install(monkeypatch, 6)
    with tiny_run(tmp_path, trainer="distributed", executor="torch") as run:
        assert run.info.batch_size == 6
        assert any("a batch of 4 is smaller" in line for line in warnings_of(tmp_path))
        run.advance()
        replicas = run._parts.step.actors.trainer.made.replicas
        assert replicas.sizes == [[1] * 6]
        drawn = run._parts.step.actors.sampler.draw(run.step + 1)
        assert {len(indices) for indices in drawn.values()} == {6}


def test_a_batch_mask_held_by_one_side_only_is_shared_too(monkeypatch):
    """Masks are as nested as a feed likes to give them."""
    simulated.install(monkeypatch, 2)
    network = small_network()
    batch = exact_batch(network, 4)
    bare = attrs.evolve(batch, meta=BatchMeta({}, {"a": {"face": batch.meta.masks["a"]["face"]}}))
    alone = gradients(start(fs_trainer_standard, network), bare)
    found = gradients(start(fs_trainer_distributed, network), bare)
    for name, gradient in alone[0].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["uniform", "yaw", "loss"])
def test_the_sampler_is_the_chosen_one(kind):
    config = Config({"trainer.distributed": SamplerOptions(sampler=kind)})
    facts = {side: {"yaw": np.linspace(-40, 40, n)} for side, n in (("a", 5), ("b", 3))}
    sampler = fs_trainer_distributed.plugin.get_sampler({"a": 5, "b": 3}, 4, 0, 2, facts, config)
    assert type(sampler).__name__.lower() == f"{kind}sampler"
    assert {side: len(drawn) for side, drawn in sampler.draw(1).items()} == {"a": 4, "b": 4}
