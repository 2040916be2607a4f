"""What is to be seen of a sharded network from inside, in each of two processes."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from types import SimpleNamespace

import attrs
import fs_executor_keras
import fs_executor_torch
import torch
import torch.distributed.checkpoint as dcp
from fake_run import FakeRun
from fs_kernel import networks
from fs_kernel.errors import FsError
from fs_kernel.options import Config
from fs_kernel.testing.parts import array_batch, build_network
from fs_kernel.training import batches
from fs_kernel.types import DeferredTensor
from fs_nn import optimizers
from fs_nn.dtensor import is_sharded
from fs_nn.losses import mae, mse
from fs_nn.options import LossOptions, OptimizerOptions, SamplerOptions
from fs_nn.training import TrainingSteps
from fs_trainer_fsdp import ShardedSteps, written
from small_model import SmallModel
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter

CPU = torch.device("cpu")
#: Every optimiser, each with another way to bound gradients.
OPTIMIZERS = {
    "adam": "autoclip",
    "adamw": "global_norm",
    "adamax": "norm",
    "nadam": "value",
    "rms_prop": "none",
    "AdaBelief": "autoclip",
    "Lion": "global_norm",
}


class Stubborn(torch.optim.SGD):
    """An optimiser for whole weights only."""

    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.data.add_(torch.ones(weight.shape))


def fake(group, network=None, *, executor=fs_executor_torch, precision="fp32", size=5, **options):
    """A run of parts."""
    network = network or build_network(SmallModel)
    forward = executor.make_forward(network, CPU)
    found = {name: getattr(optimizers, name) for name in OPTIMIZERS} | {"stubborn": Stubborn}
    return FakeRun(
        network,
        weights=lambda: networks.parameters(network),
        config=Config(
            {
                "loss": LossOptions(loss_function="mae"),
                "optimizer": OptimizerOptions(**{"clipping_value": 0.5, **options}),
                "trainer.fsdp": SamplerOptions(),
            }
        ),
        found={"losses": {"mae": mae, "mse": mse}, "optimizers": found},
        runs=forward,
        module=getattr(forward, "module", None),
        info=SimpleNamespace(precision=precision, batch_size=size, executor="keras"),
        group=group,
    )


def batch_of(network, rank=None, step=1, size=5):
    whole = array_batch(network, size, step=step, fields={"face"})
    return whole if rank is None else batches.mapped(whole, lambda tensor: tensor[rank::2])


def difference(one, other):
    """The largest difference of two networks' weights."""
    mine, theirs = networks.parameters(one), networks.parameters(other)
    return max(float((mine[name] - theirs[name]).abs().max().detach()) for name in mine)


def started(group, **options):
    run = fake(group, **options)
    return ShardedSteps(run, run.config["trainer.fsdp"]), run.network


def of_optimizers(group) -> dict:
    """Per optimiser, how far three steps of shares are from three steps of one process.

    Shares are unequal: three faces in process 0, two in process 1.
    """
    seen = {}
    for name, clipping in OPTIMIZERS.items():
        options = {"optimizer": name, "gradient_clipping": clipping, "ema_decay": 0.9}
        alone = fake(FakeRun().group, **options)
        steps = TrainingSteps(alone, alone.config["trainer.fsdp"])
        shared, network = started(group, **options)
        losses = []
        for step in range(1, 4):
            wanted = steps.train_step(batch_of(alone.network, step=step)).losses
            given = shared.train_step(batch_of(network, group.rank, step)).losses
            mean = group.all_reduce_mean(torch.stack([loss.total for loss in given]).cpu())
            losses.append(float((mean - torch.stack([x.total for x in wanted])).abs().max()))
        spread = shared.optimizer.average.weights()
        averages = steps.optimizer.average.weights()
        average = max(float((spread[n].full_tensor() - a).abs().max()) for n, a in averages.items())
        with shared.full_weights():
            seen[name] = {
                "weights": difference(network, alone.network),
                "average": average,
                "losses": max(losses),
            }
    return seen


def of_bytes(group) -> dict:
    """What a process holds after a step: shares of weights and moments, and nothing whole."""
    steps, network = started(group, optimizer="adam")
    steps.train_step(batch_of(network, group.rank))
    entries = steps.optimizer.state_dict()["weights"].values()
    moments = [v for entry in entries for v in entry["values"].values() if is_sharded(v)]
    weights = list(networks.parameters(network).values())
    whole_bytes = sum(t.numel() * t.element_size() for t in (*weights, *moments))
    return {
        "own": sum(t.to_local().untyped_storage().nbytes() for t in (*weights, *moments)),
        "whole": whole_bytes,
        "kept_whole": sum(w.full.untyped_storage().nbytes() for w in steps.shards.weights),
        "moments": len(moments),
        "weights": len(weights),
    }


def of_weights(group) -> dict:
    """Shares that are replaced, whole weights and what becomes of their changes."""
    steps, network = started(group)
    pictures = batch_of(network).inputs
    originals = [weight.full for weight in steps.shards.weights]

    def outputs():
        with torch.no_grad():
            return torch.stack(steps.run.forward(pictures, training=False))

    before = outputs()
    for weight in steps.shards.weights:
        weight.shard.detach().to_local().mul_(2)
    doubled = outputs()
    with steps.full_weights():
        inside = [weight.variable._value for weight in steps.shards.weights]
        are_own = all(a is b for a, b in zip(inside, originals, strict=True))
        shapes = all(tuple(w.full.shape) == w.variable.shape for w in steps.shards.weights)
        for weight in inside:
            weight.data.mul_(0.5)
    again = outputs()
    steps.close(failed=False)
    held = [weight.variable._value for weight in steps.shards.weights]
    whole_after = all(a is b and a.numel() for a, b in zip(held, originals, strict=True))
    anew = ShardedSteps(steps.run, steps.run.config["trainer.fsdp"])
    return {
        "replaced_change": float((doubled - before).abs().max()),
        "changes_are_taken_over": float((again - before).abs().max()),
        "whole_are_the_networks_own": are_own and shapes,
        "whole_after_stop": whole_after,
        "same_shards_when_started_anew": anew.shards is steps.shards,
        "spread_when_started_anew": all(map(is_sharded, networks.parameters(network).values())),
        "outputs_when_started_anew": float((outputs() - before).abs().max()),
    }


def of_scaling(group) -> dict:
    """fp16: gradients that overflow in one process are left out in all of them."""
    steps, network = started(group, precision="fp16", optimizer="adamax")
    scale = steps.optimizer._scaler.get_scale()
    batch = batch_of(network, group.rank)
    if group.rank == 1:
        targets = {"a": [batch.targets["a"][0] * torch.inf], "b": batch.targets["b"]}
        batch = attrs.evolve(batch, targets=targets)
    with steps.full_weights():
        before = [w.full.detach().clone() for w in steps.shards.weights]
    stepped = steps.train_step(batch).stepped
    halved = steps.optimizer._scaler.get_scale()
    with steps.full_weights():
        same = all(w.full.equal(b) for w, b in zip(steps.shards.weights, before, strict=True))
    good = steps.train_step(batch_of(network, group.rank)).stepped
    return {"stepped": stepped, "same": same, "scale": halved / scale, "then": good}


def line(call) -> str:
    try:
        call()
    except FsError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def of_refusals(group) -> dict:
    lone = build_network(SmallModel)
    scalar = fake(group)
    number = torch.nn.Parameter(torch.ones(()))
    scalar.weights = lambda: {**networks.parameters(scalar.network), "temperature": number}
    outside = fake(group)
    outside.weights = lambda: {"extra:d/conv/kernel": torch.nn.Parameter(torch.ones(2))}
    runs = {
        "keras": fake(group, lone, executor=fs_executor_keras),
        "optimizer": fake(group, optimizer="stubborn"),
        "scalar": scalar,
        "outside": outside,
    }
    return {n: line(lambda r=r: ShardedSteps(r, SamplerOptions())) for n, r in runs.items()}


@contextlib.contextmanager
def no_space(rank):
    """The disk of process 1 is full."""
    write = HuggingFaceStorageWriter.write_data

    def full(self, plan, planner):
        if rank == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, plan, planner)

    HuggingFaceStorageWriter.write_data = full
    try:
        yield
    finally:
        HuggingFaceStorageWriter.write_data = write


def of_disks(root, group) -> dict:
    """A save that fails in one process fails in all, says why, and leaves nothing."""
    steps, network = started(group)
    steps.train_step(batch_of(network, group.rank))
    tree, folder = {"optimizer": steps.optimizer.state_dict()}, root / "disks"
    with no_space(group.rank):
        seen = {"full": line(lambda: written.with_full_tensors(tree, folder, group))}

    def elsewhere(value):
        given = group.broadcast(value)
        return given / "here" if group.rank and isinstance(given, Path) else given

    blind = SimpleNamespace(
        rank=group.rank,
        size=2,
        all_reduce_max=group.all_reduce_max,
        all_gather=group.all_gather,
        broadcast=elsewhere,
    )
    seen["unseen"] = line(lambda: written.with_full_tensors(tree, folder, blind))
    settled = written.with_full_tensors(tree, folder, group)
    values = settled["optimizer"]["weights"]["encoder/code/kernel"]["values"]
    moment = values["exp_avg"]
    seen["settled"] = isinstance(moment, DeferredTensor) == (group.rank == 0)
    seen["shape"] = tuple((moment.tensor() if group.rank == 0 else moment).shape)
    return seen


def of_reading(root) -> dict:
    """A generation that one process wrote, read by torch's reader into shares."""
    generation = root / "original/model/checkpoints/000000005"
    steps_of = {}
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, zeros

    mesh = init_device_mesh("cpu", (2,))
    name = "encoder/code/kernel"
    moment = f"/trainer/optimizer/weights/{name}/values/exp_avg"
    for key in (name, moment):
        steps_of[key] = zeros(512, 48, dtype=torch.float64, device_mesh=mesh, placements=[Shard(0)])
    dcp.load(steps_of, storage_reader=HuggingFaceStorageReader(str(generation)))
    return {key: share.full_tensor() for key, share in steps_of.items()}


def facts(root, group) -> dict:
    """Everything above."""
    return {
        "optimizers": of_optimizers(group),
        "bytes": of_bytes(group),
        "weights": of_weights(group),
        "scaling": of_scaling(group),
        "refusals": of_refusals(group),
        "disks": of_disks(root, group),
        "read": of_reading(root),
    }
