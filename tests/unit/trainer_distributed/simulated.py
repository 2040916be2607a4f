"""DataParallel on a machine without GPUs: every share of a batch goes to the CPU."""

from __future__ import annotations

import sys
import warnings
from types import SimpleNamespace

import fs_trainer_distributed.gpus
import fs_trainer_distributed.replicas
import torch
from fs_trainer_distributed.replicas import Replicas

CPU = torch.device("cpu")


class CpuReplicas(Replicas):
    """Torch's own replicas and forward; only what moves tensors between GPUs is made anew."""

    def __init__(self, model, gpus):
        super().__init__(model, gpus)
        self.device_ids = list(range(len(gpus)))
        self.src_device_obj = self.output_device = CPU
        self.dim = 0
        self.sizes = []

    def scatter(self, inputs, kwargs, device_ids):
        def pieces(node):
            """One piece per device, or fewer, as torch scatters."""
            if isinstance(node, torch.Tensor):
                return node.chunk(len(device_ids))
            if isinstance(node, dict):
                return _zipped(dict, [[(k, p) for p in pieces(v)] for k, v in node.items()])
            if isinstance(node, list | tuple):
                return _zipped(type(node), [pieces(item) for item in node])
            return [node] * len(device_ids)

        shares = pieces(inputs)
        self.sizes.append([len(share[1]["a"]) for share in shares])
        return shares, [{}] * len(shares)

    def parallel_apply(self, replicas, inputs, kwargs):
        assert len(replicas) == len(inputs)
        assert len({id(replica) for replica in replicas}) == len(replicas)
        return [r(*share) for r, share in zip(replicas, inputs, strict=True)]


def _zipped(kind, lists):
    if not lists:
        return [kind()] * 64
    return [kind(items) for items in zip(*lists, strict=False)]


def broadcast(tensors, devices, detach=False):
    """Copies of all tensors for each device; their gradients come back to the originals."""
    return [[t.detach().clone() if detach else t.clone() for t in tensors] for _ in devices]


def install(monkeypatch, count):
    """Let the trainer see ``count`` GPUs, all of them the CPU."""
    replicate = sys.modules["torch.nn.parallel.replicate"]
    monkeypatch.setattr(replicate, "_broadcast_coalesced_reshape", broadcast)
    monkeypatch.setattr(replicate, "_get_device_index", lambda device, optional: device)
    monkeypatch.setattr(fs_trainer_distributed.gpus, "visible", lambda device: [CPU] * count)
    monkeypatch.setattr(fs_trainer_distributed.replicas, "Replicas", CpuReplicas)
    same = SimpleNamespace(total_memory=8 << 30, multi_processor_count=80)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda gpu: same)


def warned(call):
    """The result of a call and what it warned about."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [str(item.message) for item in caught]
