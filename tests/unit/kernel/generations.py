"""Checkpoints of one recognisable step each, for tests of the store."""

from __future__ import annotations

import json

import torch
from fs_kernel.storage import tree
from fs_kernel.storage.checkpoints import CheckpointData, Checkpoints

FILES = {
    "config.toml",
    "manifest.json",
    "network.json",
    "state.json",
    "training.json",
    "training.safetensors",
    "weights.safetensors",
}


def content(step):
    return CheckpointData(
        step=step,
        network={"format": 1, "step": step},
        weights={"a/kernel": torch.full((4,), float(step)), "b/kernel": torch.ones(0)},
        training=tree.pack({"trainer": {"step": step, "moment": torch.full((3,), step * 1.0)}}),
        state={"iterations": step},
        config=f"[training]\nseed = {step}\n",
    )


def no_warning(line):
    raise AssertionError(line)


def loaded(folder, warn=no_warning):
    """The step that would be resumed from; every part of it must belong to that step."""
    checkpoints = Checkpoints(folder)
    name = checkpoints.latest_valid(warn)
    step = checkpoints.read_state(name)["iterations"]
    assert checkpoints.validation_error(name) is None
    assert checkpoints.read_weights(name)["a/kernel"].tolist() == [float(step)] * 4
    training = checkpoints.read_training(name)["trainer"]
    assert (training["step"], training["moment"].tolist()) == (step, [float(step)] * 3)
    assert json.loads(checkpoints.network_path(name).read_text())["step"] == step
    assert f"seed = {step}" in checkpoints.config_path(name).read_text()
    return step


def names(folder):
    return [g.name for g in Checkpoints(folder).checkpoints()]
