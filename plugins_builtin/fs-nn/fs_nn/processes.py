"""Connect the processes of a run, with `torch.distributed`."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from fs_kernel.errors import ConfigError, ProcessError
from fs_kernel.types import Run
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

#: What a launcher tells every process.
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_sessions = itertools.count()


class Processes:
    """Speak over gloo as a `fs_kernel.types.ProcessGroup`, beside the group of the gradients.

    Args:
        device: where this process computes.
        timeout: seconds after which a wait for another process ends with an error.

    Attributes:
        gradients: the group for what lies on the device: NCCL on a GPU, gloo elsewhere.
    """

    def __init__(self, device: torch.device, timeout: float) -> None:
        backend = "nccl" if device.type == "cuda" else "gloo"
        limit = timedelta(seconds=timeout)
        store, self.rank, self.size = next(iter(rendezvous("env://", timeout=limit)))
        # Keys that an earlier session, or one before a restart, left in the store must not match.
        dist.init_process_group(
            backend,
            store=PrefixStore(f"{_attempt()}session{next(_sessions)}", store),
            rank=self.rank,
            world_size=self.size,
            timeout=limit,
        )
        self.gradients = dist.group.WORLD
        self._control = dist.new_group(backend="gloo", timeout=limit)
        self.device: torch.device | None = device
        name = os.environ.get("TORCHELASTIC_RUN_ID", "")
        self.name = "" if name == "none" else name

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Return the largest of all processes' values, element by element."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """Return the mean of all processes' values, element by element."""
        mean: Tensor = self._reduced(values, dist.ReduceOp.SUM) / self.size
        return mean

    def _reduced(self, values: Tensor, operation: Any) -> Tensor:
        reduced: Tensor = values.clone()
        with self._naming_failures():
            dist.all_reduce(reduced, operation, group=self._control)
        return reduced

    def all_gather(self, value: Any) -> list[Any]:
        """Return every process's value, in the order of ranks."""
        values = [None] * self.size
        with self._naming_failures():
            dist.all_gather_object(values, value, group=self._control)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the value of process 0."""
        values = [value]
        with self._naming_failures():
            dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    @contextlib.contextmanager
    def _naming_failures(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ProcessError(
                f"process {self.rank} of {self.size}: another process is gone or hangs ({reason})"
            ) from error

    def close(self, failed: bool) -> None:
        """Leave the group."""
        # NCCL would wait for the others; the end of the process is the end of its group, too.
        if dist.is_initialized() and not (failed and dist.get_backend() == "nccl"):
            dist.destroy_process_group()


def connect(device: str, timeout: float) -> Processes | None:
    """Return the group of the processes that were launched with this one.

    Args:
        device: ``training.device``.
        timeout: seconds to wait for any of them.

    Returns:
        None if this process was started alone.

    Raises:
        ConfigError: the processes of a machine cannot share the device.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or not all(n in os.environ for n in _LAUNCHED):
        return None
    group = Processes(_own_device(device, int(os.environ["LOCAL_RANK"])), timeout)
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    if restarts and group.rank == 0:
        most = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "?")
        warnings.warn(
            f"a process was lost; all were started again from the last checkpoint (restart "
            f"{restarts} of at most {most})",
            stacklevel=2,
        )
    return group


def _attempt() -> str:
    # A store of the launcher's outlives the processes. A new one does not, and then machines that
    # came back may have counted otherwise.
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return ""
    return f"attempt{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/"


def processes_of(run: Run) -> Processes:
    """Return the processes of a run whose trainer connected them with `connect`."""
    group: Any = run.group
    return group  # type: ignore[no-any-return]


def process_count() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def _own_device(wanted: str, local_rank: int) -> torch.device:
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if wanted not in ("auto", "cuda"):
        raise ConfigError(
            f"training.device = {wanted} names one device for all processes of a machine; with "
            "several processes it is auto, cuda or cpu"
        )
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ConfigError(
            f"process {local_rank + 1} of this machine has no GPU of its own: there are {count}; "
            f"start {count} processes at most, or set training.device = cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
