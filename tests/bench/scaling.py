"""The tables of ``docs/distributed.md``: what processes send each other, and what that costs.

    python tests/bench/scaling.py            # measures gloo here, and counts every network

Measured here: the bytes that DDP hands to its all-reduce, and how long gloo takes for them between
processes of this machine. Counted: gradients and operations of each network at its defaults
(`fs_bench.counting`). Predicted from these: how much faster more GPUs are, under the assumptions
below, which are no measurement.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

NAMES = (
    *("original", "lightweight", "dfaker", "dfl_h128", "dfl_sae", "dlight", "iae"),
    *("realface", "unbalanced", "villain", "phaze_a"),
)
#: Assumed: faces per side and GPU, and operations per second that a GPU gets done (a third of the
#: 60e12 a year-2022 card can do in TF32).
BATCH, SPEED = 16, 20e12
#: Assumed: bytes per second in one direction that an all-reduce gets out of each link.
LINKS = {
    "NVLink": 200e9,
    "PCIe 4.0 x16": 12e9,
    "100 Gbit Ethernet": 11e9,
    "25 Gbit Ethernet": 2.8e9,
}
COUNTS = (2, 8, 16, 64)
#: Assumed: gradients travel beside the backward pass, which is two thirds of a step.
BACKWARD = 2 / 3


def all_reduce_seconds(size: float, count: int, speed: float) -> float:
    """A ring of ``count``: each link carries ``2 (n - 1) / n`` of the bytes.

    Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations".
    """
    return 2 * (count - 1) / count * size / speed


def efficiency(step: float, size: float, count: int, speed: float) -> float:
    """Share of ``count`` times the speed of one that is left, each GPU with its own full batch."""
    waits = max(0.0, all_reduce_seconds(size, count, speed) - BACKWARD * step)
    return step / (step + waits)


def predict() -> None:
    from fs_bench.counting import count
    from fs_kernel.testing.parts import build_network

    titles = [f"{link} {n}" for link in LINKS for n in COUNTS if (n <= 8) == ("Eth" not in link)]
    print("| network | gradients MB | step ms (assumed) | " + " | ".join(titles) + " |")
    print("|---" * (len(titles) + 3) + "|")
    for name in NAMES:
        work = count(build_network(name, device="meta"))
        size, step = 4 * work.parameters, work.flops(BATCH) / SPEED
        cells = [
            f"{efficiency(step, size, n, speed):.0%}"
            for link, speed in LINKS.items()
            for n in COUNTS
            if (n <= 8) == ("Eth" not in link)
        ]
        print(f"| {name} | {size / 1e6:.0f} | {step * 1e3:.0f} | " + " | ".join(cells) + " |")


def _share(rank: int, count: int, port: int, numbers: int) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
    from torch.nn.parallel import DistributedDataParallel

    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=count)
    layer = torch.nn.Linear(numbers // 1024, 1024, bias=False)
    ddp, sent = DistributedDataParallel(layer), []

    def hook(group, bucket):  # type: ignore[no-untyped-def]  # DDP reads annotations.
        sent.append(bucket.buffer().nbytes)
        return default_hooks.allreduce_hook(group, bucket)

    ddp.register_comm_hook(None, hook)
    inputs, gradient, seconds = torch.ones(1, numbers // 1024), layer.weight.detach().clone(), []
    for _ in range(3):
        sent.clear()
        ddp(inputs).sum().backward()
        start = time.perf_counter()
        dist.all_reduce(gradient)
        seconds.append(time.perf_counter() - start)
    if rank == 0:
        weights = layer.weight.nbytes
        print(f"{count} processes: weights {weights / 1e6:.1f} MB, sent {sum(sent) / 1e6:.1f} MB")
        print(f"all-reduce {statistics.median(seconds):.3f} s, {os.cpu_count()} cores")
    dist.destroy_process_group()


def measure(numbers: int) -> None:
    import torch.multiprocessing as mp

    for count in (2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        mp.spawn(_share, (count, port, numbers), nprocs=count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", type=int, default=2**24, help="gradients that are shared")
    arguments = parser.parse_args()
    measure(arguments.numbers)
    predict()
