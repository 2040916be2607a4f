"""Let several processes share a run: how they decide, act and fail together.

Process 0 decides and writes; the others follow. What one of them cannot do, all of them give up
together, so that no process waits for another that will never come.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import torch
from fs_kernel.errors import BadStepError, FsError, ProcessError
from fs_kernel.training import granted
from fs_kernel.types import Decision, SaveReason, StopReason

from fs_nn.processes import Processes

T = TypeVar("T")
#: Why a session stops, the weakest reason first: as numbers, the largest wish of all counts.
_STOPS = (None, StopReason.TIME_UP, StopReason.STOPPED, StopReason.TARGET_REACHED)


class ManyProcesses:
    """The `fs_kernel.types.Coordinator` of a run that several processes share.

    Args:
        group: the processes.
    """

    def __init__(self, group: Processes) -> None:
        self.group = group
        self.rank, self.is_main = group.rank, group.rank == 0
        self.context: dict[str, Any] = {"rank": group.rank}

    def decide(self, wish: Decision, failure: FsError | None = None) -> Decision:
        """Return the strongest wish of all processes in each of them."""
        # One small reduction per step; options and messages, which are rare, follow only if a
        # process has any.
        flags = [
            failure is not None,
            _STOPS.index(wish.stop),
            wish.read_metrics,
            wish.save or 0,
            wish.save_blocked,
            wish.preview_faces,
            wish.evaluate,
            bool(wish.options),
            bool(wish.messages),
        ]
        agreed = self.group.all_reduce_max(torch.tensor([int(f) for f in flags]))
        failed, stop, read, save, blocked, faces, evaluate, options, messages = agreed.tolist()
        if failed:
            raise self._of_all(failure) from failure
        told = self.group.all_gather(wish.messages) if messages else []
        return granted(
            Decision(
                stop=_STOPS[stop],
                read_metrics=bool(read),
                save=SaveReason(save) if save else None,
                save_blocked=bool(blocked),
                preview_faces=faces,
                evaluate=bool(evaluate),
                options=self.group.broadcast(wish.options) if options else (),
                messages=tuple(
                    attrs.evolve(message, rank=rank)
                    for rank, of_rank in enumerate(told)
                    for message in of_rank
                ),
            )
        )

    def everywhere(self, action: Callable[[], T]) -> T:
        """Act in each process; if one fails, all fail."""
        result, failure = None, None
        try:
            result = action()
        except FsError as error:
            failure = error
        self._fail_together(failure)
        return result  # type: ignore[return-value]

    def on_main(self, action: Callable[[], T]) -> T:
        """Act in process 0; all get its result or its failure."""
        result = self.everywhere(action if self.is_main else lambda: None)
        shared: T = self.group.broadcast(result)
        return shared

    def _fail_together(self, failure: FsError | None) -> None:
        flag = self.group.all_reduce_max(torch.tensor([int(failure is not None)]))
        if int(flag):
            raise self._of_all(failure) from failure

    def _of_all(self, failure: FsError | None) -> FsError:
        """Return the failure of the lowest rank that has one, as it is raised everywhere."""
        mine = None if failure is None else (type(failure), str(failure), vars(failure))
        told = self.group.all_gather(mine)
        rank, (kind, line, facts) = next((r, one) for r, one in enumerate(told) if one is not None)
        if rank == self.rank and failure is not None:
            return self._marked(failure)
        # Errors have constructors of all forms; this one is filled without calling it.
        made: FsError = kind.__new__(kind)
        vars(made).update(facts)
        made.args = (line if rank == 0 else f"process {rank} of {self.group.size}: {line}",)
        return self._marked(made)

    def _marked(self, error: FsError) -> FsError:
        error.agreed, error.quiet = True, not self.is_main
        return error

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over the processes."""
        return self.group.all_reduce_mean(values)

    def collect(self, value: T) -> list[T]:
        """Return every process's value, in the order of ranks."""
        return self.group.all_gather(value)

    def broadcast(self, value: T) -> T:
        """Return the value of process 0."""
        shared: T = self.group.broadcast(value)
        return shared

    def local_indices(self, batch_size: int) -> range:
        """Return every n-th place of a batch."""
        return range(self.rank, batch_size, self.group.size)

    def require_identical(
        self, facts: Mapping[str, Any], error: type[FsError], advice: str
    ) -> None:
        """Raise in all processes if a fact is not the same everywhere."""
        (first_host, first), *others = self.collect((socket.gethostname(), dict(facts)))
        for rank, (where, known) in enumerate(others, 1):
            for name in sorted({*first, *known}):
                here, there = first.get(name, "missing"), known.get(name, "missing")
                if here != there:
                    line = (
                        f"{name} is {here} in process 0 ({first_host}), but {there} in process "
                        f"{rank} ({where}); {advice}"
                    )
                    raise self._marked(error(line))

    def as_group_error(self, error: Exception) -> Exception:
        """Return the error if all processes end with it; else a `ProcessError`."""
        if isinstance(error, ProcessError):
            return error
        if isinstance(error, BadStepError):
            return self._marked(error)  # All of them read the same losses.
        if isinstance(error, FsError) and error.agreed:
            return error
        line = str(error) if isinstance(error, FsError) else f"{type(error).__name__}: {error}"
        return ProcessError(f"process {self.rank} of {self.group.size}: {line}")
