"""Weights spread over two processes: every step, save and resume is that of one process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace

import fs_nn.processes
import fs_trainer_fsdp
import fsdp_worker
import numpy as np
import pytest
import torch
from fs_kernel import networks
from fs_kernel.options import Config
from fs_kernel.storage.checkpoints import Checkpoints
from fs_nn.process_trainer import ProcessOptions
from fs_trainer_fsdp.shards import placement
from fsdp_worker import EVERYTHING, advance, open_small
from sharded_facts import OPTIMIZERS
from torch.nn import Parameter

STEP_5, STEP_9 = "000000005", "000000009"
LEFT = "checkpoints/.writing-shards-00000000"


def start_workers(root, *mode):
    """Two processes; their exit codes and what they said."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, fsdp_worker.__file__, str(root)]
    workers = [
        subprocess.Popen(
            [*command, str(rank), "2", port, *mode],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [worker.communicate(timeout=300)[1] for worker in workers]
    return [worker.returncode for worker in workers], said


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What both processes saw, and the folders they left."""
    root = tmp_path_factory.mktemp("fsdp")
    advance(root / "original", "standard", 5, **EVERYTHING)
    left = root / "original/model" / LEFT / "sharded"
    left.mkdir(parents=True)
    (left / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"half a")
    codes, said = start_workers(root)
    assert codes == [0, 0], "\n".join(said)
    facts = [torch.load(root / f"seen-{rank}.pt", weights_only=False) for rank in range(2)]
    return SimpleNamespace(root=root, first=facts[0], both=facts)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process's nine steps: its folder, its losses."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, advance(folder, "standard", 9, **EVERYTHING)


def held(folder, generation):
    """Every tensor of a generation but random states, by name."""
    checkpoints = Checkpoints(folder / "model")
    assert checkpoints.validation_error(generation) is None
    tensors = dict(checkpoints.read_weights(generation))
    for name, entry in checkpoints.read_training(generation)["trainer"]["optimizer"].items():
        tensors |= dict(_leaves(entry, name))
    return tensors


def _leaves(node, path):
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in _leaves(value, f"{path}/{key}")]
    return [(path, node)] if isinstance(node, torch.Tensor) else []


def assert_alike(one, other, tolerance=1e-12):
    """Two generations hold the same weights, moments, averages and waiting gradients."""
    assert one.keys() == other.keys()
    assert any("exp_avg_sq" in name for name in one)
    assert any(name.startswith("average/") for name in one)
    assert any(name.startswith("accumulated/") for name in one)
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=tolerance, atol=tolerance, msg=name)


def back_at_step_5(folder, target):
    """A copy of a model folder whose generation of step 5 counts."""
    shutil.copytree(folder, target)
    Checkpoints(target / "model").set_current(STEP_5)
    shutil.rmtree(target / "model/checkpoints" / STEP_9)


# --- steps ---


def test_steps_and_checkpoints_are_those_of_one_process(seen, alone):
    """Moments, autoclip, the average and waiting gradients included."""
    folder, losses = alone
    assert seen.first["straight"] == pytest.approx(losses, rel=1e-12)
    assert_alike(held(seen.root / "straight", STEP_9), held(folder, STEP_9))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_as_on_whole_weights(seen, name):
    """With each way to bound gradients, and although the shares of the batch are unequal."""
    for rank in range(2):
        far = seen.both[rank]["optimizers"][name]
        assert far["weights"] < 1e-12
        assert far["average"] < 1e-12
        assert far["losses"] < 1e-12


def test_each_process_holds_about_half(seen):
    """Of weights and moments, and nothing of the rest."""
    for facts in seen.both:
        held_bytes = facts["bytes"]
        assert held_bytes["own"] < 0.51 * held_bytes["whole"]
        assert held_bytes["kept_whole"] == 0
        assert held_bytes["moments"] == 2 * held_bytes["weights"] == 24


def test_replaced_shares_change_the_output(seen):
    """FSDP over the Keras model would shard nothing that is computed with, silently."""
    for facts in seen.both:
        assert facts["weights"]["replaced_change"] > 1e-3


def test_changes_of_whole_weights_are_taken_over(seen):
    for facts in seen.both:
        assert facts["weights"]["whole_are_the_networks_own"]
        assert facts["weights"]["changes_are_taken_over"] == 0


def test_a_stopped_trainer_leaves_the_weights_whole_and_can_start_anew(seen):
    for facts in seen.both:
        assert facts["weights"]["whole_after_stop"]
        assert facts["weights"]["same_shards_when_started_anew"]
        assert facts["weights"]["spread_when_started_anew"]
        assert facts["weights"]["outputs_when_started_anew"] == 0


def test_an_overflow_in_one_process_is_left_out_in_all(seen):
    for facts in seen.both:
        assert facts["scaling"] == {"stepped": False, "same": True, "scale": 0.5, "then": True}


# --- inside a run ---


def test_previews_and_trials_in_a_sharded_run(seen, tmp_path):
    """A trial leaves no trace; previews show the weights of their moment, each time."""
    with open_small(tmp_path, "standard", **EVERYTHING) as run:
        faces = run.session.feed.preview(3).inputs["a"]
        swaps = []
        for _ in range(2):
            run.advance()
            swaps.append(run.swapper("a", "b")(faces)[0])
        run.advance()
    weights = networks.weights(run.network)
    for facts in seen.both:
        inside = facts["inside"]
        for step, swap in enumerate(swaps, 1):
            assert inside[f"swap_{step}"] == pytest.approx(swap, abs=1e-6)
        assert (swaps[0] != swaps[1]).any()
        assert list(inside["weights"]) == list(weights)
        for name, value in inside["weights"].items():
            torch.testing.assert_close(value, weights[name], rtol=1e-12, atol=1e-12)


# --- checkpoints ---


def test_a_resumed_run_goes_on_to_the_bit(seen):
    facts = seen.first
    assert facts["start"] + facts["resumed"] == facts["straight"]
    assert_alike(held(seen.root / "fsdp", STEP_9), held(seen.root / "straight", STEP_9), 0)


def test_what_one_process_saved_goes_on_in_two(seen, alone):
    folder, losses = alone
    assert seen.first["from_standard"] == pytest.approx(losses[5:], rel=1e-12)
    assert_alike(held(seen.root / "original", STEP_9), held(folder, STEP_9))


@pytest.mark.parametrize("trainer", ["standard", "fsdp", "distributed"])
def test_what_two_processes_saved_goes_on_in_one(seen, alone, tmp_path, trainer):
    folder, losses = alone
    back_at_step_5(seen.root / "fsdp", tmp_path / "copy")
    assert advance(tmp_path / "copy", trainer, 4, **EVERYTHING) == pytest.approx(
        losses[5:], rel=1e-12
    )
    assert_alike(held(tmp_path / "copy", STEP_9), held(folder, STEP_9))


def test_torch_reads_its_shards_from_any_generation(seen):
    generation = held(seen.root / "original", STEP_5)
    name = "encoder/code/kernel"
    for facts in seen.both:
        found = facts["read"]
        assert found[name].equal(generation[name])
        moment = found[f"/trainer/optimizer/weights/{name}/values/exp_avg"]
        assert moment.equal(generation[f"weights/{name}/values/exp_avg"])


def test_what_a_kill_left_behind_goes_with_the_next_save(seen):
    """The folder of shards had been there before the run began."""
    for name in ("original", "fsdp", "straight"):
        left = sorted(p.name for p in (seen.root / name / "model/checkpoints").iterdir())
        assert left[-1] == STEP_9
        assert not any(entry.startswith(".") for entry in left)


def test_a_kill_while_shards_are_written_spoils_nothing(seen, tmp_path):
    shutil.copytree(seen.root / "fsdp", tmp_path / "fsdp")
    before = held(tmp_path / "fsdp", STEP_9)
    codes, said = start_workers(tmp_path, "killed")
    assert codes[0] == 9, "\n".join(said)
    assert codes[1] not in (0, 9)
    checkpoints = Checkpoints(tmp_path / "fsdp/model")
    assert checkpoints.current_name() == STEP_9
    assert_alike(held(tmp_path / "fsdp", STEP_9), before, 0)
    shards = [*(tmp_path / "fsdp/model/checkpoints").glob(".writing-shards-*/sharded/*")]
    assert len(shards) == 2
    advance(tmp_path / "fsdp", "standard", 1, **EVERYTHING)
    assert checkpoints.current_name() == "000000010"
    assert not [*(tmp_path / "fsdp/model/checkpoints").glob(".*")]


def test_a_save_that_fails_in_one_process_fails_in_all_and_leaves_nothing(seen):
    for facts in seen.both:
        disks = facts["disks"]
        assert disks["full"].startswith("ModelFolderError: ")
        assert disks["full"].endswith("checkpoints: No space left on device")
        assert "cannot see " in disks["unseen"]
        assert disks["settled"]
        assert disks["shape"] == (512, 48)
    unseen = seen.first["disks"]["unseen"]
    assert unseen.startswith("ModelFolderError: process 1 of 2: cannot see ")
    assert not [path for path in (seen.root / "disks").rglob("*") if path.is_file()]


def test_a_run_outlives_a_save_that_failed(seen):
    """It says so, tries again, and shows no trace of it."""
    lines = (seen.root / "full/model/logs/events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    (failed,) = (event for event in events if event["event"] == "save_failed")
    assert failed["step"] == 1
    assert failed["message"].endswith("checkpoints: No space left on device")
    assert [event["step"] for event in events if event["event"] == "saved"] == [3]
    weights = Checkpoints(seen.root / "full/model").read_weights("000000003")
    for name, value in seen.first["inside"]["weights"].items():
        assert value.equal(weights[name])


# --- what cannot be spread ---


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("keras", "executor 'keras' runs it as a Keras model; add --set training.executor=torch"),
        ("optimizer", "optimizer 'stubborn' cannot change weights that are sharded over processes"),
        ("scalar", "cannot shard the weight 'temperature', which is a single number"),
        ("outside", "'extra:d/conv/kernel', which is not in the main network; choose trainer"),
    ],
)
def test_what_cannot_be_spread_is_refused_by_name(seen, what, line):
    for facts in seen.both:
        assert facts["refusals"][what].startswith("ConfigError: ")
        assert line in facts["refusals"][what]


@pytest.mark.parametrize(
    ("shape", "size", "axis"),
    [
        ((3, 3, 64, 128), 4, 3),
        ((5, 5, 128, 3), 8, 2),
        ((512, 48), 2, 0),
        ((7,), 2, 0),
        ((3, 3, 5, 7), 2, 0),
    ],
)
def test_a_weight_is_cut_along_its_longest_axis_that_is_shared_evenly(shape, size, axis):
    assert placement(size)(Parameter(torch.empty(shape))).dim == axis


def test_alone_it_trains_as_original_would(tmp_path):
    """Without a launcher there is one process, and any executor will do."""
    weights = []
    for trainer in ("standard", "fsdp"):
        advance(tmp_path / trainer, trainer, 2, executor="keras")
        weights.append(Checkpoints(tmp_path / trainer / "model").read_weights("000000002"))
    assert all(value.equal(weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize("kind", ["uniform", "yaw", "loss"])
def test_the_sampler_is_the_chosen_one(kind):
    config = Config({"trainer.fsdp": ProcessOptions(sampler=kind)})
    facts = {side: {"yaw": np.linspace(-40, 40, n)} for side, n in (("a", 5), ("b", 3))}
    sampler = fs_trainer_fsdp.plugin.get_sampler({"a": 5, "b": 3}, 4, 0, 2, facts, config)
    assert type(sampler).__name__.lower() == f"{kind}sampler"
    assert {side: len(drawn) for side, drawn in sampler.draw(1).items()} == {"a": 4, "b": 4}


def test_processes_wait_for_one_another_as_long_as_timeout_says(monkeypatch):
    """What a hung process does to the others is shown with trainer ddp, whose group it is."""
    waited = []
    monkeypatch.setattr(fs_nn.processes, "connect", lambda device, timeout: waited.append(timeout))
    config = Config({"trainer.fsdp": ProcessOptions(timeout=7)})
    assert fs_trainer_fsdp.plugin.connect("cpu", config) is None
    assert waited == [7]
