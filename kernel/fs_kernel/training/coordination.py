"""Let several processes share a run, or none: the only module that knows there may be several.

Process 0 decides and writes; the others follow. What one of them cannot do, all of them give up
together, so that no process waits for another that will never come.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from fs_kernel import backend
from fs_kernel.errors import BadStepError, FsError, ProcessError
from fs_kernel.training.agenda import Decision, SaveReason
from fs_kernel.types import ProcessGroup, StopReason

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
#: Why a session stops, the weakest reason first: as numbers, the largest wish of all counts.
_STOPS = (None, StopReason.TIME_UP, StopReason.STOPPED, StopReason.TARGET_REACHED)


class SingleGroup:
    """The `fs_kernel.types.ProcessGroup` of a run that is one process."""

    def __init__(self) -> None:
        self.rank, self.size, self.name = 0, 1, ""
        self.device: torch.device | None = None

    def all_reduce_max(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return values

    def all_reduce_mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return values

    def all_gather(self, value: Any) -> list[Any]:
        """Return the one value there is."""
        return [value]

    def broadcast(self, value: Any) -> Any:
        """Return the value."""
        return value

    def close(self, failed: bool) -> None:
        """Do nothing."""


class Coordinator(Protocol):
    """How the loop acts, whether it is alone or not.

    Attributes:
        group: what plugins see as ``run.group``.
        rank: of this process.
        is_main: whether this process decides and writes.
        context: what the run's records say of this process.
    """

    group: ProcessGroup
    rank: int
    is_main: bool
    context: dict[str, Any]

    def decide(self, wish: Decision, failure: FsError | None = None) -> Decision:
        """Return the same decision in every process, or raise the same error."""

    def everywhere(self, action: Callable[[], T]) -> T:
        """Act in each process and return its own result; if one fails, all fail with its error.

        The action must not be collective: a process that failed would leave the others waiting.
        """

    def on_main(self, action: Callable[[], T]) -> T:
        """Act in process 0 alone; return its result in all, or fail in all."""

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over the processes, element by element."""

    def collect(self, value: T) -> list[T]:
        """Return every process's value."""

    def broadcast(self, value: T) -> T:
        """Return the value of process 0."""

    def local_indices(self, batch_size: int) -> range:
        """Return the places of a batch that this process fills."""

    def require_identical(
        self, facts: Mapping[str, Any], error: type[FsError], advice: str
    ) -> None:
        """Compare what every process knows with what process 0 knows.

        Args:
            facts: what to call a fact, and what it is here.
            error: what is raised in all of them if one differs.
            advice: what to do then.
        """

    def as_group_error(self, error: Exception) -> Exception:
        """Return what an error that ends this process means for all of them."""


class SingleProcess:
    """The coordinator of a run that is one process: everything is as it seems."""

    def __init__(self) -> None:
        self.group: ProcessGroup = SingleGroup()
        self.rank, self.is_main = 0, True
        self.context: dict[str, Any] = {}

    def decide(self, wish: Decision, failure: FsError | None = None) -> Decision:
        """Return the wish, unless something failed."""
        if failure is not None:
            raise failure
        return granted(wish)

    def everywhere(self, action: Callable[[], T]) -> T:
        """Act."""
        return action()

    def on_main(self, action: Callable[[], T]) -> T:
        """Act."""
        return action()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return values

    def collect(self, value: T) -> list[T]:
        """Return the one value there is."""
        return [value]

    def broadcast(self, value: T) -> T:
        """Return the value."""
        return value

    def local_indices(self, batch_size: int) -> range:
        """Return all places of a batch."""
        return range(batch_size)

    def require_identical(
        self, facts: Mapping[str, Any], error: type[FsError], advice: str
    ) -> None:
        """Do nothing: there is nothing to differ from."""

    def as_group_error(self, error: Exception) -> Exception:
        """Return the error."""
        return error


def granted(decision: Decision) -> Decision:
    """Return a decision without the save that cannot start yet, or is not made before the end."""
    if decision.save is None or not (decision.save_blocked or decision.stop):
        return decision
    return attrs.evolve(decision, save=None)


class ManyProcesses:
    """The coordinator of a run that several processes share.

    Args:
        group: the processes, from the trainer's hook ``connect``.
    """

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.rank, self.is_main = group.rank, group.rank == 0
        self.context: dict[str, Any] = {"rank": group.rank}

    def decide(self, wish: Decision, failure: FsError | None = None) -> Decision:
        """Return the strongest wish of all processes in each of them."""
        torch = backend.torch()
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
        torch = backend.torch()
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


def coordinator_of(group: ProcessGroup | None) -> Coordinator:
    """Return the coordinator for what the trainer's hook ``connect`` returned."""
    return SingleProcess() if group is None or group.size == 1 else ManyProcesses(group)
