"""Several processes that share a run, and the one that does not.

Process 0 decides and writes; the others follow. What one of them cannot do, all of them give up
together, so that nobody waits for ever.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import backend
from fs_kernel.errors import BadStepError, FsError, ProcessError
from fs_kernel.types import Group

if TYPE_CHECKING:
    import torch


@attrs.define
class Plan:
    """What all processes do next; numbers, so that the largest wish wins.

    Attributes:
        stop: finish.
        late: finish, for the time is up.
        save: save when the save before is done.
        snapshot: and keep that one for good.
        preview: make a preview of so many faces.
        read: read the losses back after the next step.
        due: it is time to save.
        busy: the save before is not done.
        changes: options were asked to change.
        lines: there is something to tell that only process 0 can.
    """

    stop: int = 0
    late: int = 0
    save: int = 0
    snapshot: int = 0
    preview: int = 0
    read: int = 0
    due: int = 0
    busy: int = 0
    changes: int = 0
    lines: int = 0

    def agreed(self, group: Group, failure: FsError | None) -> Plan:
        """The plan of all processes; see `agree`."""
        wishes = [int(value) for value in attrs.astuple(self)]
        return Plan(*agree(group, failure, wishes))


class Alone:
    """The `fs_kernel.types.Group` of a run that is one process."""

    def __init__(self) -> None:
        self.rank, self.size, self.name = 0, 1, ""
        self.device: torch.device | None = None

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """The values."""
        return values

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The values."""
        return values

    def gather(self, value: Any) -> list[Any]:
        """The one value there is."""
        return [value]

    def share(self, value: Any) -> Any:
        """The value."""
        return value

    def close(self, failed: bool) -> None:
        """Nothing to part from."""


def agree(group: Group, failure: FsError | None, wishes: Sequence[int]) -> list[int]:
    """The largest of all processes' wishes, number by number.

    Args:
        group: the processes.
        failure: what this one ran into since they last agreed.
        wishes: whole numbers.

    Raises:
        FsError: one of them ran into a failure; the same in all of them.
    """
    torch = backend.torch()
    flags = torch.tensor([int(failure is not None), *wishes], dtype=torch.int64)
    failed, *agreed = group.largest(flags).tolist()
    if failed:
        raise _of_all(group, failure) from failure
    return [int(value) for value in agreed]


@contextlib.contextmanager
def together(group: Group) -> Iterator[None]:
    """What is done inside fails in all processes or in none. Nothing inside may be collective.

    Raises:
        FsError: it failed in one of them.
    """
    failure = None
    try:
        yield
    except FsError as error:
        failure = error
    agree(group, failure, ())


def _of_all(group: Group, failure: FsError | None) -> FsError:
    """The failure of the lowest rank that has one, as it is raised in every process."""
    told = group.gather(None if failure is None else (type(failure), str(failure), vars(failure)))
    rank, (kind, line, facts) = next((r, one) for r, one in enumerate(told) if one is not None)
    if rank == group.rank and failure is not None:
        made = failure
    else:
        made = kind.__new__(kind)
        vars(made).update(facts)
        made.args = (line if rank == 0 else f"process {rank} of {group.size}: {line}",)
    return _marked(group, made)


def _marked(group: Group, error: FsError) -> FsError:
    error.agreed, error.quiet = True, group.rank > 0
    return error


def outcome(group: Group, error: Exception) -> Exception:
    """What an error that ends this process means for all of them.

    Returns:
        The error, if all processes end with it; else a `ProcessError`.
    """
    if group.size == 1 or isinstance(error, ProcessError):
        return error
    if isinstance(error, BadStepError):
        return _marked(group, error)  # All of them read the same losses.
    if isinstance(error, FsError) and error.agreed:
        return error
    line = str(error) if isinstance(error, FsError) else f"{type(error).__name__}: {error}"
    return ProcessError(f"process {group.rank} of {group.size}: {line}")


def require_alike(
    group: Group, facts: Mapping[str, Any], error: type[FsError], advice: str
) -> None:
    """Hold what every process knows against what process 0 knows.

    Args:
        group: the processes.
        facts: what to call a fact, and what it is here.
        error: what is raised in all of them if one differs.
        advice: what to do then.
    """
    host = socket.gethostname()
    (first_host, first), *others = group.gather((host, dict(facts)))
    for rank, (where, known) in enumerate(others, 1):
        for name in sorted({*first, *known}):
            here, there = first.get(name, "missing"), known.get(name, "missing")
            if here != there:
                line = (
                    f"{name} is {here} in process 0 ({first_host}), but {there} in process {rank} "
                    f"({where}); {advice}"
                )
                raise _marked(group, error(line))
