"""The options of ``[trainer.ddp]``, and what the launcher is told."""

from __future__ import annotations

import os
import signal

import pytest
import scenes
import together
import torch
from fs_kernel.errors import ConfigError
from fs_nn import launching, processes
from fs_trainer_ddp import plugin


def test_a_sampler_that_listens_hears_every_process(tmp_path):
    """With the sampler "loss", every face is drawn in two processes as it is in one."""
    options = {"trainer__ddp__sampler": "loss", "training__batch_size": 6}
    alone = scenes.train(tmp_path / "alone", 8, **options)
    pair = together.play(tmp_path, 2, ["listening"])["listening"][0]
    for metrics, other in zip(alone["losses"], pair["losses"], strict=True):
        assert metrics == pytest.approx(other, rel=1e-9)


def test_timeout_is_the_patience_of_a_group(monkeypatch):
    asked = []
    monkeypatch.setattr(processes, "connect", lambda *given: asked.append(given))
    config = {"trainer.ddp": plugin.options(timeout=7)}
    assert plugin.connect("cpu", config) is None
    assert asked == [("cpu", 7)]


def test_it_starts_processes_with_torchs_launcher(monkeypatch):
    asked = []
    monkeypatch.setattr(launching, "launch", lambda *given: asked.append(given) or 5)
    assert plugin.launch(["run", "-m", "x"], 3) == 5
    assert asked == [(["run", "-m", "x"], 3)]


def test_without_a_launcher_it_trains_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert processes.connect("cpu", 5) is None
    assert plugin.fit_batch_size(1, torch.device("cpu"), {}) == 1


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_one_device_cannot_be_that_of_all(device):
    with pytest.raises(ConfigError, match="names one device for all processes"):
        processes._own_device(device, 0)


def test_a_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="process 3 of this machine has no GPU of its own"):
        processes._own_device("auto", 2)


def test_the_environment_of_torchrun_holds(monkeypatch):
    for name, value in {
        "PET_NNODES": "2",
        "PET_RDZV_ENDPOINT": "first:29400",
        "PET_RDZV_ID": "job7",
        "PET_MAX_RESTARTS": "9",
    }.items():
        monkeypatch.setenv(name, value)
    settings = launching._settings(4)
    assert (settings.min_nodes, settings.max_nodes, settings.nproc_per_node) == (2, 2, 4)
    assert (settings.rdzv_backend, settings.rdzv_endpoint) == ("c10d", "first:29400")
    assert (settings.run_id, settings.max_restarts) == ("job7", 9)


def test_a_process_that_starts_while_all_stop_ends(monkeypatch):
    """It was started again after a process died of the signal to stop."""
    monkeypatch.setenv(launching._STOPPING, "1")
    monkeypatch.setenv("RANK", "0")
    assert launching.work(["run", "-m", "nowhere"]) == 0


def test_a_signal_to_the_launcher_is_remembered_while_it_waits():
    with launching._signals_passed_on():
        os.kill(os.getpid(), signal.SIGTERM)
        assert os.environ[launching._STOPPING] == "1"
    assert launching._STOPPING not in os.environ
